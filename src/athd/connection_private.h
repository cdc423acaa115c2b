/* What connection.c (reading, beginning and end), connection_turn.c and connection_write.c share.
 */
#ifndef ATHD_CONNECTION_PRIVATE_H
#define ATHD_CONNECTION_PRIVATE_H

#include "athd/connection.h"

#define CONNECTION_PAUSE_AT 65536u /* unread bytes from which on nothing more is read */

/* connection.c: after every change: start the next write, read or stop reading, drain. */
void connection_handle_lines(struct connection *connection);

/* connection_turn.c. Where athd serves several uids, one with a thousand connections has no more of
 * each turn than one with a single one. */
bool connection_has_turn(const struct connection *connection);
/* connection_handle_lines is called when it has one again. */
void connection_wait_for_turn(struct connection *connection);
void connection_leave_turn(struct connection *connection); /* fine if it does not wait for one */
/* Carries the line out, in its uid's time: the number of calls in it. */
size_t connection_take_line(struct connection *connection, struct ath_slice line);

/* connection_write.c: what the socket takes at once of `out`, where nothing is before it; < 0: it
 * takes nothing any more (libuv's error). */
int connection_try_write(struct connection *connection);
/* Starts writing `writing`. */
void connection_start_write(struct connection *connection);
/* Bytes that wait to be written. */
size_t connection_backlog(const struct connection *connection);
/* Looked at where one holds much: the little of many has its limit in their number. */
bool connection_holds_too_much(const struct connection *connection);

#endif
