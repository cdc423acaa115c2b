/* What systemd wants to hear (sd_notify(3)): datagrams to $NOTIFY_SOCKET. */
#ifndef ATHD_SERVICE_MANAGER_H
#define ATHD_SERVICE_MANAGER_H

/* "READY=1", "STOPPING=1", "RELOADING=1". Does nothing without a $NOTIFY_SOCKET; a manager that
 * does not listen is its own problem. */
void service_manager_notify(const char *state);

#endif
