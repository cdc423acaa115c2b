/* Who a caller is: nothing is said of a process that is not proven to be the one that connected. */
#include "tests/support/support.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "athd/caller.h"
#include "base/fd.h"
#include "tests/support/skip.h"

#define PATIENCE_MS 100000

/* ---- what the kernel is made to say ---- */

static struct {
    bool is_old;        /* no SO_PEERPIDFD */
    uint64_t ticks;     /* the time; 0: the real one */
    pid_t instead;      /* pidfds are opened of this process; 0: of the one asked for */
    unsigned opened;    /* how often pidfd_open(2) was used */
    const char *verity; /* of every program; NULL: the real one */
} kernel;

int __real_caller_kernel_peer_pidfd(int socket);
int __wrap_caller_kernel_peer_pidfd(int socket);
int __real_caller_kernel_pidfd_open(pid_t pid);
int __wrap_caller_kernel_pidfd_open(pid_t pid);
uint64_t __real_caller_kernel_ticks(void);
uint64_t __wrap_caller_kernel_ticks(void);
void __real_caller_kernel_verity(int dir, const char *name, char digest[CALLER_VERITY_SIZE]);
void __wrap_caller_kernel_verity(int dir, const char *name, char digest[CALLER_VERITY_SIZE]);

int
__wrap_caller_kernel_peer_pidfd(int socket)
{
    if (!kernel.is_old)
        return __real_caller_kernel_peer_pidfd(socket);
    errno = ENOPROTOOPT;
    return -1;
}

int
__wrap_caller_kernel_pidfd_open(pid_t pid)
{
    kernel.opened++;
    return __real_caller_kernel_pidfd_open(kernel.instead != 0 ? kernel.instead : pid);
}

uint64_t
__wrap_caller_kernel_ticks(void)
{
    return kernel.ticks != 0 ? kernel.ticks : __real_caller_kernel_ticks();
}

void
__wrap_caller_kernel_verity(int dir, const char *name, char digest[CALLER_VERITY_SIZE])
{
    if (kernel.verity != NULL)
        snprintf(digest, CALLER_VERITY_SIZE, "%s", kernel.verity);
    else
        __real_caller_kernel_verity(dir, name, digest);
}

static int
begin(void **state)
{
    (void)state;
    memset(&kernel, 0, sizeof(kernel));
    return 0;
}

static bool
has_peer_pidfd(void)
{
    int pair[2], pidfd;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    pidfd = __real_caller_kernel_peer_pidfd(pair[0]);
    fd_close(&pair[0]);
    fd_close(&pair[1]);
    fd_close(&pidfd);
    return pidfd >= 0 || errno != ENOPROTOOPT;
}

/* ---- a caller that is another process ---- */

struct scene {
    int listener, socket; /* socket: accepted */
    int to_child;         /* a byte lets it go on; closed: it ends */
    int from_child;       /* a byte: it has connected; end of file: it has run another program */
    pid_t child;
    struct sockaddr_un address;
};

static void
wait_for(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};

    assert_int_equal(poll(&poller, 1, PATIENCE_MS), 1);
}

/* In the child: connects, tells, waits, and then runs cat(1) on the pipe. */
static void
be_caller(const struct scene *scene, int told, int telling, bool keeps_socket)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | (keeps_socket ? 0 : SOCK_CLOEXEC), 0);
    char byte = 'c';

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (fd < 0 ||
        connect(fd, (const struct sockaddr *)&scene->address, sizeof(scene->address)) != 0)
        _exit(1);
    if (write(telling, &byte, 1) != 1 || read(told, &byte, 1) != 1)
        _exit(1);
    dup2(told, 0);
    execl("/bin/cat", "cat", (char *)NULL);
    _exit(1);
}

static void
scene_listen(struct scene *scene)
{
    static unsigned scenes; /* what a test forked may hold on to its socket for a moment */
    struct sockaddr_un *address = &scene->address;

    *scene = (struct scene){.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
                            .socket = -1,
                            .address = {.sun_family = AF_UNIX}};
    /* abstract: nothing to remove */
    snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1, "ath-test-caller-%ld-%u",
             (long)getpid(), scenes++);
    assert_int_equal(bind(scene->listener, (const struct sockaddr *)address, sizeof(*address)), 0);
    assert_int_equal(listen(scene->listener, 8), 0);
}

static void
scene_fork(struct scene *scene, bool keeps_socket)
{
    int to[2], from[2];

    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    scene->child = fork();
    assert_true(scene->child >= 0);
    if (scene->child == 0) {
        fd_close(&to[1]);
        be_caller(scene, to[0], from[1], keeps_socket);
    }
    fd_close(&to[0]);
    fd_close(&from[1]);
    scene->to_child = to[1];
    scene->from_child = from[0];
    wait_for(scene->from_child);
    assert_int_equal(read(scene->from_child, &(char){0}, 1), 1);
}

static struct caller *
scene_accept(struct scene *scene)
{
    struct caller *caller = NULL;

    scene->socket = accept4(scene->listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(scene->socket >= 0);
    assert_int_equal(caller_of_socket(scene->socket, &caller), ATH_OK);
    return caller;
}

static void
scene_exec(struct scene *scene)
{
    assert_int_equal(write(scene->to_child, "x", 1), 1);
    wait_for(scene->from_child); /* close-on-exec: end of file */
    assert_int_equal(read(scene->from_child, &(char){0}, 1), 0);
}

static void
scene_kill(struct scene *scene)
{
    if (scene->child > 0) {
        kill(scene->child, SIGKILL);
        assert_int_equal(waitpid(scene->child, NULL, 0), scene->child);
    }
    scene->child = 0;
}

static void
scene_end(struct scene *scene)
{
    scene_kill(scene);
    fd_close(&scene->to_child);
    fd_close(&scene->from_child);
    fd_close(&scene->socket);
    fd_close(&scene->listener);
}

static void
assert_unknown(const struct caller *caller)
{
    assert_false(caller->is_proven);
    assert_false(caller_is_still(caller));
    assert_string_equal(caller->exe, "");
    assert_string_equal(caller->unit, "");
    assert_string_equal(caller->verity, "");
    assert_true(caller->start_ticks == 0);
    assert_int_equal(caller->name_space, CALLER_UNSEEN);
    assert_int_equal(caller->uid, getuid()); /* that much the socket says for ever */
}

/* ---- what is said of it ---- */

static void
check_facts(void)
{
    struct scene scene;
    struct caller *caller;

    scene_listen(&scene);
    scene_fork(&scene, false);
    caller = scene_accept(&scene);
    assert_true(caller->is_proven);
    assert_int_equal(caller->pid, scene.child);
    assert_int_equal(caller->uid, getuid());
    assert_int_equal(caller->gid, getgid());
    assert_non_null(strstr(caller->exe, "unit_athd_caller"));
    assert_true(caller->exe_is_here);
    assert_true(caller->exe_file.inode != 0);
    assert_true(caller->start_ticks > 0);
    assert_int_equal(caller->name_space, CALLER_SAME);
    assert_true(caller_is_still(caller));
    caller_free(caller);
    scene_end(&scene);
}

static void
test_a_caller_is_named_by_pid_and_start_and_program(void **state)
{
    (void)state;
    check_facts();
    assert_int_equal(kernel.opened, has_peer_pidfd() ? 0 : 1);
}

static void
test_a_kernel_without_peer_pidfds_says_the_same(void **state)
{
    (void)state;
    kernel.is_old = true;
    check_facts();
    assert_int_equal(kernel.opened, 1);
}

static void
check_gone(void)
{
    struct scene scene;
    struct caller *caller;

    scene_listen(&scene);
    scene_fork(&scene, false);
    scene_kill(&scene);
    caller = scene_accept(&scene);
    assert_unknown(caller);
    caller_free(caller);
    scene_end(&scene);
}

static void
test_of_a_caller_that_has_gone_nothing_is_said(void **state)
{
    (void)state;
    check_gone();
    kernel.is_old = true;
    check_gone();
}

/* One that connects, and then does what makes it somebody else. */
static void
check_changes(bool keeps_socket, void (*change)(struct scene *scene))
{
    struct scene scene;
    struct caller *caller;

    scene_listen(&scene);
    scene_fork(&scene, keeps_socket);
    caller = scene_accept(&scene);
    assert_true(caller_is_still(caller));
    change(&scene);
    assert_false(caller_is_still(caller));
    caller_free(caller);
    scene_end(&scene);
}

static void
test_a_caller_that_dies_is_nobody_any_more(void **state)
{
    (void)state;
    check_changes(false, scene_kill);
    kernel.is_old = true;
    check_changes(false, scene_kill);
}

static void
test_a_caller_that_runs_another_program_is_not_the_one_that_connected(void **state)
{
    (void)state;
    check_changes(true, scene_exec);
    kernel.is_old = true;
    check_changes(true, scene_exec);
}

/* A number is given away: whatever has it now began when the caller had connected already. */
static void
test_a_process_that_began_after_the_connection_is_not_its_caller(void **state)
{
    struct scene scene;
    struct caller *caller;

    (void)state;
    kernel.is_old = true;
    kernel.ticks = 1;
    scene_listen(&scene);
    scene_fork(&scene, false);
    caller = scene_accept(&scene);
    assert_unknown(caller);
    caller_free(caller);
    scene_end(&scene);
}

/* The number was given away while we looked: the pidfd is of nobody any more. */
static void
test_a_pidfd_of_a_process_that_has_ended_proves_nothing(void **state)
{
    struct scene scene;
    struct caller *caller;
    pid_t ended = fork();

    (void)state;
    if (ended == 0)
        _exit(0);
    assert_int_equal(waitid(P_PID, (id_t)ended, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
    kernel.is_old = true;
    kernel.instead = ended;
    scene_listen(&scene);
    scene_fork(&scene, false);
    caller = scene_accept(&scene);
    assert_unknown(caller);
    caller_free(caller);
    scene_end(&scene);
    assert_int_equal(waitpid(ended, NULL, 0), ended);
}

/* ---- a number that is used again ---- */

/* A process with this very number, which must be free (clone3(2), set_tid); -1: it may not. */
static pid_t
fork_as(pid_t number)
{
    struct clone_args args = {
        .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&number, .set_tid_size = 1};
    long child = syscall(SYS_clone3, &args, sizeof(args));

    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    return (pid_t)child;
}

/* The caller ends before it is accepted, and its number is somebody else's by then. */
static void
check_used_again(void)
{
    struct scene scene;
    struct caller *caller;
    pid_t number, other;

    scene_listen(&scene);
    scene_fork(&scene, false);
    number = scene.child;
    scene_kill(&scene);
    if ((other = fork_as(number)) < 0) {
        scene_end(&scene);
        skip_because("no process can be given the number of another here");
    }
    caller = scene_accept(&scene);
    assert_int_equal(caller->pid, other); /* the number lives ... */
    assert_unknown(caller);               /* ... and is not taken for the caller */
    kill(other, SIGKILL);
    assert_int_equal(waitpid(other, NULL, 0), other);
    caller_free(caller);
    scene_end(&scene);
}

static void
test_a_number_that_is_used_again_is_nobody(void **state)
{
    (void)state;
    check_used_again();
    kernel.is_old = true;
    check_used_again();
}

/* The number is used again later: the connection's facts were its first owner's. */
static void
check_used_again_later(void)
{
    struct scene scene;
    struct caller *caller;
    pid_t number, other;

    scene_listen(&scene);
    scene_fork(&scene, false);
    number = scene.child;
    caller = scene_accept(&scene);
    assert_true(caller_is_still(caller));
    scene_kill(&scene);
    if ((other = fork_as(number)) >= 0) {
        assert_false(caller_is_still(caller)); /* though it runs the same program */
        kill(other, SIGKILL);
        assert_int_equal(waitpid(other, NULL, 0), other);
    }
    caller_free(caller);
    scene_end(&scene);
    if (other < 0)
        skip_because("no process can be given the number of another here");
}

static void
test_a_number_that_is_used_again_later_is_nobody(void **state)
{
    (void)state;
    check_used_again_later();
    kernel.is_old = true;
    check_used_again_later();
}

/* ---- name spaces ---- */

static int
wait_status(pid_t child)
{
    int status = -1;

    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
test_a_caller_in_a_container_is_said_to_be_in_one(void **state)
{
    struct scene scene;
    struct caller *caller;
    pid_t inner;

    (void)state;
    if (getuid() != 0)
        skip_because("only root makes a namespace");
    scene_listen(&scene);
    if ((inner = fork()) == 0) { /* its children are in the new name space */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWPID) != 0)
            _exit(77);
        scene_fork(&scene, false);
        caller = scene_accept(&scene);
        _exit(caller->name_space == CALLER_OTHER && caller->pid == scene.child ? 0 : 1);
    }
    inner = wait_status(inner);
    fd_close(&scene.listener);
    if (inner == 77)
        skip_because("no namespace of processes can be made here");
    assert_int_equal(inner, 0);
}

static void
test_a_caller_from_outside_is_unseen(void **state)
{
    struct scene scene;
    pid_t middle, inner;
    int status;

    (void)state;
    if (getuid() != 0)
        skip_because("only root makes a namespace");
    scene_listen(&scene);
    scene_fork(&scene, false); /* outside */
    if ((middle = fork()) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWPID) != 0)
            _exit(77);
        if ((inner = fork()) == 0) { /* athd's place */
            struct caller *caller = scene_accept(&scene);

            _exit(caller->pid == 0 && !caller->is_proven && caller->exe[0] == '\0' &&
                          caller->name_space == CALLER_UNSEEN
                      ? 0
                      : 1);
        }
        _exit(wait_status(inner));
    }
    status = wait_status(middle);
    scene_end(&scene);
    if (status == 77)
        skip_because("no namespace of processes can be made here");
    assert_int_equal(status, 0);
}

/* ---- telling ---- */

static struct json *
put(const struct caller *caller,
    void (*how)(const struct caller *, struct json_maker *, const char *))
{
    struct json_maker record;
    struct json *tree = NULL;

    json_object_begin(&record);
    how(caller, &record, "caller");
    assert_int_equal(json_maker_end(&record, &tree), ATH_OK);
    return tree;
}

static void
test_a_record_leaves_out_what_is_not_known(void **state)
{
    const struct caller caller = {.uid = 7, .pid = 8};
    struct json *tree = put(&caller, caller_put);

    (void)state;
    assert_int_equal(json_count(json_get(tree, "caller")), 2);
    json_free(tree);
}

static void
test_a_record_says_unseen_and_what_runs_elsewhere(void **state)
{
    const struct caller unseen = {.uid = 7};
    const struct caller other = {.uid = 7,
                                 .pid = 8,
                                 .is_proven = true,
                                 .name_space = CALLER_OTHER,
                                 .exe = "/usr/bin/node",
                                 .verity = "sha256:00",
                                 .unit = "a.scope",
                                 .slice = "app.slice",
                                 .grant = "travel"};
    struct json *tree = put(&unseen, caller_put);

    (void)state;
    assert_string_equal(json_get_string(json_get(tree, "caller"), "namespace"), "unseen");
    json_free(tree);
    tree = put(&other, caller_put);
    assert_string_equal(json_get_string(json_get(tree, "caller"), "namespace"), "other");
    assert_true(json_is_true(json_get(json_get(tree, "caller"), "exe_is_elsewhere")));
    assert_string_equal(json_get_string(json_get(tree, "caller"), "verity"), "sha256:00");
    assert_string_equal(json_get_string(json_get(tree, "caller"), "grant"), "travel");
    json_free(tree);
}

static void
test_the_digest_of_the_program_is_told(void **state)
{
    struct scene scene;
    struct caller *caller;
    struct json *tree;

    (void)state;
    kernel.verity = "sha256:0123";
    scene_listen(&scene);
    scene_fork(&scene, false);
    caller = scene_accept(&scene);
    tree = put(caller, caller_put_all);
    assert_string_equal(json_get_string(json_get(tree, "caller"), "verity"), "sha256:0123");
    assert_true(json_is_true(json_get(json_get(tree, "caller"), "proven")));
    json_free(tree);
    caller_free(caller);
    scene_end(&scene);
}

/* ---- texts of /proc ---- */

static void
starts(const char *stat, uint64_t ticks)
{
    assert_true(caller_start_of_stat(ath_slice_of_string(stat)) == ticks);
}

/* proc(5): the name may hold parentheses, blanks and line ends. */
static void
test_start_is_the_22nd_field_whatever_the_program_is_called(void **state)
{
    (void)state;
    starts("7 (cat) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3\n", 98765);
    starts("7 (a) S 9 9 (b\n) c) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4 1 2\n", 4);
    starts("7 (cat) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765", 98765);
    starts("7 (cat) S 1 7 7", 0);
    starts("7 (cat)", 0);
    starts("", 0);
    starts("7 (c) S 1 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 99999999999999999999999 1 2", 0);
}

static void
unit_is(const char *cgroup, const char *unit, const char *slice, bool is_users)
{
    struct caller_unit found;

    caller_unit_of_cgroup(ath_slice_of_string(cgroup), &found);
    assert_string_equal(found.unit, unit);
    assert_string_equal(found.slice, slice);
    assert_int_equal(found.is_users, is_users);
}

static void
test_unit_is_what_systemd_made_not_what_lies_below(void **state)
{
    (void)state;
    unit_is("0::/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service\n",
            "shop.service", "app.slice", true);
    unit_is("0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope",
            "user-1000.slice", false);
    unit_is("0::/system.slice/docker.service/workers/3\n", "docker.service", "system.slice", false);
    unit_is("0::/system.slice/docker.service/backup.service\n", "docker.service", "system.slice",
            false);
    unit_is("0::/user.slice/user-1000.slice/user@1000.service/app.slice\n", "user@1000.service",
            "user-1000.slice", false);
    unit_is("0::/user.slice/user-1000.slice/user@1000.service/a.slice/b.slice/c.scope/d.service",
            "c.scope", "b.slice", true);
    unit_is("0::/athd/a.service\n", "", "", false);
    unit_is("0::/a.slice/b/a.service\n", "", "a.slice", false);
    unit_is("0::/\n", "", "", false);
    unit_is("0::/.service\n", "", "", false);
    unit_is("12:pids:/system.slice/a.service\n", "", "", false);
    unit_is("12:pids:/\n1:name=systemd:/system.slice/b.service\n0::/system.slice/a.service\n",
            "a.service", "system.slice", false);
    unit_is("10::/system.slice/a.service\n", "", "", false);
    unit_is("", "", "", false);
    unit_is("0::", "", "", false);
    unit_is("0::/a.service\nb.service", "a.service", "", false);
}

static void
test_unit_from_strangers_cannot_break_a_line_or_grow(void **state)
{
    char text[600] = "0::/";
    struct caller_unit found;

    (void)state;
    unit_is("0::/a\x1b[2J.service\n", "a?[2J.service", "", false);
    memset(text + 4, 'x', 500);
    strcpy(text + 504, ".service\n");
    caller_unit_of_cgroup(ath_slice_of_string(text), &found);
    assert_int_equal(strlen(found.unit), CALLER_UNIT_SIZE - 1);
}

static void
name_space_is(const char *status, enum caller_namespace name_space)
{
    assert_int_equal(caller_namespace_of_status(ath_slice_of_string(status)), name_space);
}

static void
test_name_space_is_told_by_how_many_numbers_a_process_has(void **state)
{
    (void)state;
    name_space_is("Name:\tcat\nNSpid:\t42\nNSpgid:\t1\t2\n", CALLER_SAME);
    name_space_is("Name:\tcat\nNSpid:\t42\t7\n", CALLER_OTHER);
    name_space_is("Name:\tcat\nNSpid:\t42\t7\t1", CALLER_OTHER);
    name_space_is("Name:\tNSpid:\t42\n", CALLER_UNSEEN);
    name_space_is("Name:\tcat\nNSpid:", CALLER_UNSEEN);
    name_space_is("", CALLER_UNSEEN);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_caller_is_named_by_pid_and_start_and_program, begin),
        cmocka_unit_test_setup(test_a_kernel_without_peer_pidfds_says_the_same, begin),
        cmocka_unit_test_setup(test_of_a_caller_that_has_gone_nothing_is_said, begin),
        cmocka_unit_test_setup(test_a_caller_that_dies_is_nobody_any_more, begin),
        cmocka_unit_test_setup(
            test_a_caller_that_runs_another_program_is_not_the_one_that_connected, begin),
        cmocka_unit_test_setup(test_a_process_that_began_after_the_connection_is_not_its_caller,
                               begin),
        cmocka_unit_test_setup(test_a_pidfd_of_a_process_that_has_ended_proves_nothing, begin),
        cmocka_unit_test_setup(test_a_number_that_is_used_again_is_nobody, begin),
        cmocka_unit_test_setup(test_a_number_that_is_used_again_later_is_nobody, begin),
        cmocka_unit_test_setup(test_a_caller_in_a_container_is_said_to_be_in_one, begin),
        cmocka_unit_test_setup(test_a_caller_from_outside_is_unseen, begin),
        cmocka_unit_test_setup(test_a_record_leaves_out_what_is_not_known, begin),
        cmocka_unit_test_setup(test_a_record_says_unseen_and_what_runs_elsewhere, begin),
        cmocka_unit_test_setup(test_the_digest_of_the_program_is_told, begin),
        cmocka_unit_test_setup(test_start_is_the_22nd_field_whatever_the_program_is_called, begin),
        cmocka_unit_test_setup(test_unit_is_what_systemd_made_not_what_lies_below, begin),
        cmocka_unit_test_setup(test_unit_from_strangers_cannot_break_a_line_or_grow, begin),
        cmocka_unit_test_setup(test_name_space_is_told_by_how_many_numbers_a_process_has, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
