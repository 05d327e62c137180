/* Runs a program and lets a fault happen at chosen system calls of it: a kill, an error, a pause, a cut or a flipped bit.
 *
 *   faultbox [--calls NAME,…] [--under FOLDER]… [--who pipe|host|others|all] [--at N | --from N | --every N]
 *            [--do FAULT] [--log FILE] [--count FILE] -- PROGRAM ARGUMENT…
 *
 * The kernel asks this process about each chosen call (seccomp user notification) before it does it. So calls are counted
 * over all threads, by the path that they are about, and all others run at full speed. FAULT is one of
 *   kill        SIGKILL to the whole process
 *   error=N     the call is not done and fails with this errno
 *   pause=FILE  FILE.here appears (the process id in it), and the call is not done before FILE.go is there
 *   hang        the call is never done
 *   short       half of a read or write is done
 *   flip        one bit of what is to be written changes in memory, then the call is done
 * It ends when all that the program started has ended, with the program's exit code, or 128 and the signal. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Since Linux 5.19; older headers do not name it. */
enum { WAIT_KILLABLE_RECV = 1 << 5 };

/* Where the path of a call is: 'f' a descriptor, 'p' a path, 'a' a folder and a path, 'r' and 'R' two of these, 'm' mmap, '-' none. */
struct call { const char *name; int number; char where; };
static const struct call CALLS[] = {
#ifdef __NR_open
    { "open", __NR_open, 'p' }, { "unlink", __NR_unlink, 'p' }, { "mkdir", __NR_mkdir, 'p' }, { "rmdir", __NR_rmdir, 'p' },
    { "rename", __NR_rename, 'r' }, { "stat", __NR_stat, 'p' }, { "lstat", __NR_lstat, 'p' },
    { "symlink", __NR_symlink, 'r' }, { "fork", __NR_fork, '-' }, { "vfork", __NR_vfork, '-' },
#endif
#ifdef __NR_newfstatat
    { "newfstatat", __NR_newfstatat, 'a' },
#endif
#ifdef __NR_renameat
    { "renameat", __NR_renameat, 'R' },
#endif
    { "openat", __NR_openat, 'a' }, { "openat2", __NR_openat2, 'a' }, { "unlinkat", __NR_unlinkat, 'a' },
    { "mkdirat", __NR_mkdirat, 'a' }, { "renameat2", __NR_renameat2, 'R' }, { "statx", __NR_statx, 'a' },
    { "write", __NR_write, 'f' }, { "pwrite64", __NR_pwrite64, 'f' }, { "writev", __NR_writev, 'f' },
    { "pwritev", __NR_pwritev, 'f' }, { "pwritev2", __NR_pwritev2, 'f' }, { "read", __NR_read, 'f' },
    { "pread64", __NR_pread64, 'f' }, { "preadv", __NR_preadv, 'f' }, { "fsync", __NR_fsync, 'f' },
    { "fdatasync", __NR_fdatasync, 'f' }, { "sync_file_range", __NR_sync_file_range, 'f' },
    { "ftruncate", __NR_ftruncate, 'f' }, { "fallocate", __NR_fallocate, 'f' }, { "close", __NR_close, 'f' },
    { "flock", __NR_flock, 'f' }, { "getdents64", __NR_getdents64, 'f' }, { "fstat", __NR_fstat, 'f' },
    { "copy_file_range", __NR_copy_file_range, 'f' }, { "mmap", __NR_mmap, 'm' },
    { "clone", __NR_clone, '-' }, { "clone3", __NR_clone3, '-' }, { "socket", __NR_socket, '-' },
    { "pipe2", __NR_pipe2, '-' }, { "execve", __NR_execve, 'p' },
};
enum { KNOWN = sizeof CALLS / sizeof *CALLS };

static const struct call *chosen[KNOWN];
static int chosen_count;
static const char *under[16];
static int under_count;
static int at_listener;
static pid_t program;

static void die(const char *what) {
    fprintf(stderr, "faultbox: %s: %s\n", what, strerror(errno));
    exit(125);
}

static void choose(char *names) {
    for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
        int found = 0;
        for (int i = 0; i < KNOWN; i++)
            if (!strcmp(CALLS[i].name, name)) chosen[chosen_count++] = &CALLS[i], found = 1;
        /* `open` and its like exist on old architectures alone. */
        if (!found && strcmp(name, "open") && strcmp(name, "unlink") && strcmp(name, "mkdir") && strcmp(name, "rename")
            && strcmp(name, "stat") && strcmp(name, "lstat") && strcmp(name, "rmdir") && strcmp(name, "symlink")
            && strcmp(name, "fork") && strcmp(name, "vfork") && strcmp(name, "newfstatat") && strcmp(name, "renameat")) {
            errno = EINVAL;
            die(name);
        }
    }
}

/* The program's side: from here on the chosen calls wait for the other side. */
static void install(int socket) {
    struct sock_filter code[16 + KNOWN * 2];
    int n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < chosen_count; i++) {
        /* Threads and spawned programs share memory, and descriptors of ours are closed by exec. The plain forks and pipes
         * of shells are none of ours: a signal would cut short a call of theirs that waits for us (EINTR, which they do
         * not expect there). */
        int arg = -1;
        uint32_t flag = 0;
        if (chosen[i]->number == __NR_clone) arg = 0, flag = 0x100 /* CLONE_VM */;
        if (chosen[i]->number == __NR_pipe2) arg = 1, flag = O_CLOEXEC;
        if (arg >= 0) {
            uint32_t at = offsetof(struct seccomp_data, args) + (uint32_t)arg * sizeof(uint64_t);
            code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)chosen[i]->number, 0, 4);
            code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at);
            code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, flag, 0, 1);
            code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
            code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
            continue;
        }
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)chosen[i]->number, 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog filter = { .len = (unsigned short)n, .filter = code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) die("no_new_privs");
    /* Signals wait for the answer: a call that they cut short would be a fault that nobody asked for. */
    unsigned flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE_RECV;
    int listener = (int)syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
    if (listener < 0) listener = (int)syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
    if (listener < 0) die("seccomp");
    char byte = 'x', control[CMSG_SPACE(sizeof(int))] = { 0 };
    struct iovec part = { &byte, 1 };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &listener, sizeof(int));
    if (sendmsg(socket, &message, 0) != 1) die("sendmsg");
}

static int receive(int socket) {
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec part = { &byte, 1 };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    if (recvmsg(socket, &message, 0) != 1) exit(125);
    int listener;
    memcpy(&listener, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
    return listener;
}

static int memory(pid_t pid, uint64_t address, void *to, size_t length, int write) {
    struct iovec here = { to, length }, there = { (void *)(uintptr_t)address, length };
    ssize_t n = write ? process_vm_writev(pid, &here, 1, &there, 1, 0) : process_vm_readv(pid, &here, 1, &there, 1, 0);
    return n == (ssize_t)length ? 0 : -1;
}

static void text(pid_t pid, uint64_t address, char *to, size_t room) {
    size_t n = 0;
    while (n + 1 < room) {
        /* Up to the end of a page: the next may not be there. */
        size_t part = 4096 - (address + n) % 4096;
        if (part > room - 1 - n) part = room - 1 - n;
        if (memory(pid, address + n, to + n, part, 0)) break;
        char *end = memchr(to + n, 0, part);
        if (end) return;
        n += part;
    }
    to[n] = 0;
}

static void descriptor(pid_t pid, int fd, char *to, size_t room) {
    char link[64];
    snprintf(link, sizeof link, fd == AT_FDCWD ? "/proc/%d/cwd" : "/proc/%d/fd/%d", pid, fd);
    ssize_t n = readlink(link, to, room - 1);
    to[n < 0 ? 0 : n] = 0;
}

static void resolved(pid_t pid, int folder, uint64_t address, char *to, size_t room) {
    char path[4096];
    text(pid, address, path, sizeof path);
    if (path[0] == '/') {
        snprintf(to, room, "%s", path);
        return;
    }
    descriptor(pid, folder, to, room);
    size_t n = strlen(to);
    if (path[0]) snprintf(to + n, room - n, "/%s", path);
}

static int is_under(const char *path) {
    for (int i = 0; i < under_count; i++) {
        size_t n = strlen(under[i]);
        if (!strncmp(path, under[i], n) && (path[n] == '/' || path[n] == 0)) return 1;
    }
    return under_count == 0;
}

/* Whether a call is about what was asked for; its path. */
static int concerns(const struct call *call, const struct seccomp_notif *asked, char *path, size_t room) {
    pid_t pid = (pid_t)asked->pid;
    const __u64 *a = asked->data.args;
    path[0] = 0;
    switch (call->where) {
    case 'f': descriptor(pid, (int)a[0], path, room); break;
    case 'm': if ((int)a[4] < 0) return 0; descriptor(pid, (int)a[4], path, room); break;
    case 'p': resolved(pid, AT_FDCWD, a[0], path, room); break;
    case 'a': resolved(pid, (int)a[0], a[1], path, room); break;
    case 'r': case 'R': {
        int at = call->where == 'R';
        resolved(pid, at ? (int)a[0] : AT_FDCWD, a[at], path, room);
        if (is_under(path)) return 1;
        resolved(pid, at ? (int)a[2] : AT_FDCWD, at ? a[3] : a[1], path, room);
        break;
    }
    default: return under_count == 0;
    }
    return is_under(path);
}

static int is_read(int number) { return number == __NR_read || number == __NR_pread64; }

/* The first part that a read or write is about: address and length; whether it has one. */
static int part_of(const struct seccomp_notif *asked, uint64_t *address, uint64_t *length) {
    int number = asked->data.nr;
    const __u64 *a = asked->data.args;
    if (number == __NR_write || number == __NR_pwrite64 || is_read(number)) {
        *address = a[1], *length = a[2];
        return *length > 0;
    }
    if (number == __NR_writev || number == __NR_pwritev || number == __NR_pwritev2) {
        for (uint64_t i = 0; i < a[2]; i++) {
            struct iovec part;
            if (memory((pid_t)asked->pid, a[1] + i * sizeof part, &part, sizeof part, 0)) return 0;
            if (part.iov_len == 0) continue;
            *address = (uint64_t)(uintptr_t)part.iov_base, *length = part.iov_len;
            return 1;
        }
    }
    return 0;
}

enum { WHOLE = -100000 };

/* Does half of it in the program's place: the number of bytes, or minus an errno, or that it cannot be halved. */
static int64_t half(const struct seccomp_notif *asked) {
    uint64_t address, length;
    if (!part_of(asked, &address, &length) || length < 2) return WHOLE;
    size_t n = length / 2 > 1 << 20 ? 1 << 20 : (size_t)(length / 2);
    int pidfd = (int)syscall(__NR_pidfd_open, program, 0);
    int fd = (int)syscall(__NR_pidfd_getfd, pidfd, (int)asked->data.args[0], 0);
    close(pidfd);
    if (fd < 0) return WHOLE;
    char *bytes = malloc(n);
    int number = asked->data.nr;
    int64_t done = WHOLE;
    off_t offset = (off_t)asked->data.args[3];
    if (is_read(number)) {
        done = number == __NR_read ? read(fd, bytes, n) : pread(fd, bytes, n, offset);
        if (done > 0 && memory((pid_t)asked->pid, address, bytes, (size_t)done, 1)) done = -EFAULT;
    } else if (!memory((pid_t)asked->pid, address, bytes, n, 0)) {
        int placed = number == __NR_pwrite64 || number == __NR_pwritev || number == __NR_pwritev2;
        done = placed ? pwrite(fd, bytes, n, offset) : write(fd, bytes, n);
    }
    if (done == -1) done = -errno;
    free(bytes);
    close(fd);
    return done;
}

static void flip(const struct seccomp_notif *asked) {
    uint64_t address, length;
    unsigned char byte;
    if (!part_of(asked, &address, &length)) return;
    address += length * 2 / 3;
    if (memory((pid_t)asked->pid, address, &byte, 1, 0)) return;
    byte ^= 0x10;
    memory((pid_t)asked->pid, address, &byte, 1, 1);
}

static void answer(uint64_t id, int64_t value, int error, int go_on) {
    struct seccomp_notif_resp reply = { .id = id, .val = value, .error = -error };
    reply.flags = go_on ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0;
    /* It may have been killed meanwhile. */
    ioctl(at_listener, SECCOMP_IOCTL_NOTIF_SEND, &reply);
}

static int is_there(const char *path, const char *suffix) {
    char name[4096];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return access(name, F_OK) == 0;
}

/* Whether a process is another one of the same program: the host of modules. */
static int same_program(pid_t pid) {
    char link[64], own[4096], other[4096];
    snprintf(link, sizeof link, "/proc/%d/exe", program);
    ssize_t n = readlink(link, own, sizeof own);
    snprintf(link, sizeof link, "/proc/%d/exe", pid);
    return n > 0 && readlink(link, other, sizeof other) == n && !memcmp(own, other, (size_t)n);
}

int main(int count, char **words) {
    char default_calls[] = "open,openat,unlink,unlinkat,mkdir,mkdirat,rename,renameat,renameat2,write,pwrite64,writev,pwritev,"
                           "pwritev2,fsync,fdatasync,ftruncate,fallocate,symlink,copy_file_range";
    char *calls = default_calls, *fault = "count", *log_path = NULL, *count_path = NULL, *who = "pipe";
    long at = 0, from = 0, every = 0, seen = 0;
    int i = 1;
    for (; i + 1 < count && strcmp(words[i], "--"); i += 2) {
        char *value = words[i + 1];
        if (!strcmp(words[i], "--calls")) calls = value;
        else if (!strcmp(words[i], "--under") && under_count < 16) under[under_count++] = value;
        else if (!strcmp(words[i], "--who")) who = value;
        else if (!strcmp(words[i], "--at")) at = atol(value);
        else if (!strcmp(words[i], "--from")) from = atol(value);
        else if (!strcmp(words[i], "--every")) every = atol(value);
        else if (!strcmp(words[i], "--do")) fault = value;
        else if (!strcmp(words[i], "--log")) log_path = value;
        else if (!strcmp(words[i], "--count")) count_path = value;
        else { errno = EINVAL; die(words[i]); }
    }
    if (i + 1 >= count) { errno = EINVAL; die("no program"); }
    choose(calls);

    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets)) die("socketpair");
    pid_t parent = getpid();
    program = fork();
    if (program < 0) die("fork");
    if (program == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(125);
        install(sockets[1]);
        execvp(words[i + 1], words + i + 1);
        die(words[i + 1]);
    }
    signal(SIGINT, SIG_IGN), signal(SIGTERM, SIG_IGN), signal(SIGHUP, SIG_IGN), signal(SIGPIPE, SIG_IGN);
    close(sockets[1]);
    at_listener = receive(sockets[0]);
    /* Whoever reads what the program says waits for its end, not for ours. */
    close(0), close(1);
    FILE *log = log_path ? fopen(log_path, "w") : NULL;

    struct { uint64_t id; long n; } waiting[64];
    int waiting_count = 0, status = 0, reaped = 0;
    for (;;) {
        struct pollfd ready = { .fd = at_listener, .events = POLLIN };
        int n = poll(&ready, 1, waiting_count ? 2 : 20);
        if (!reaped && waitpid(program, &status, WNOHANG) == program) reaped = 1;
        if (waiting_count && !strncmp(fault, "pause=", 6) && is_there(fault + 6, ".go")) {
            for (int k = 0; k < waiting_count; k++) answer(waiting[k].id, 0, 0, 1);
            waiting_count = 0;
        }
        if (n > 0 && ready.revents & POLLHUP && !(ready.revents & POLLIN)) break;
        if (n <= 0 || !(ready.revents & POLLIN)) continue;
        struct seccomp_notif asked;
        memset(&asked, 0, sizeof asked);
        if (ioctl(at_listener, SECCOMP_IOCTL_NOTIF_RECV, &asked)) continue;
        const struct call *call = NULL;
        for (int k = 0; k < chosen_count && !call; k++)
            if (chosen[k]->number == asked.data.nr) call = chosen[k];
        char task[64], path[8192];
        snprintf(task, sizeof task, "/proc/%d/task/%d", program, (int)asked.pid);
        int own = access(task, F_OK) == 0;
        int wanted = call && (!strcmp(who, "all") || own == !strcmp(who, "pipe"));
        if (wanted && !strcmp(who, "host")) wanted = same_program((pid_t)asked.pid);
        if (!wanted || !concerns(call, &asked, path, sizeof path)) {
            answer(asked.id, 0, 0, 1);
            continue;
        }
        seen++;
        if (log) fprintf(log, "%ld %s %s\n", seen, call->name, path), fflush(log);
        if (!((at && seen == at) || (from && seen >= from) || (every && seen % every == 0))) {
            answer(asked.id, 0, 0, 1);
        } else if (!strcmp(fault, "kill")) {
            kill(own ? program : (pid_t)asked.pid, SIGKILL);
            answer(asked.id, 0, 0, 1);
        } else if (!strncmp(fault, "error=", 6)) {
            answer(asked.id, 0, atoi(fault + 6), 0);
        } else if (!strcmp(fault, "short")) {
            int64_t done = half(&asked);
            answer(asked.id, done < 0 ? 0 : done, done < 0 && done != WHOLE ? (int)-done : 0, done == WHOLE);
        } else if (!strcmp(fault, "flip")) {
            flip(&asked);
            answer(asked.id, 0, 0, 1);
        } else if (!strncmp(fault, "pause=", 6) || !strcmp(fault, "hang")) {
            if (waiting_count < 64) waiting[waiting_count].id = asked.id, waiting[waiting_count++].n = seen;
            if (fault[0] == 'p' && !is_there(fault + 6, ".here")) {
                char name[4096], fresh[4100];
                snprintf(name, sizeof name, "%s.here", fault + 6);
                snprintf(fresh, sizeof fresh, "%s.new", fault + 6);
                FILE *here = fopen(fresh, "w");
                if (here) fprintf(here, "%d\n", program), fclose(here), rename(fresh, name);
            }
        } else {
            answer(asked.id, 0, 0, 1);
        }
    }
    if (!reaped) waitpid(program, &status, 0);
    if (log) fclose(log);
    if (count_path) {
        FILE *out = fopen(count_path, "w");
        if (out) fprintf(out, "%ld\n", seen), fclose(out);
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
