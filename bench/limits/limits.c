// What the machine can do at all.
//   limits walk DIR        two threads: readdir and statx of every file below DIR
//   limits spawn N PROGRAM two threads: N processes with posix_spawn, waited for
//   limits filter N PROGRAM IN  the same with `PROGRAM IN OUT`, whose OUT is read and removed
//   limits read DIR        two threads: readdir, open, fstat, read, close
// Prints the seconds and the count.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static char **folders;
static size_t held, room;
static int at_work, reading;
static long files, left;
static char *program, *input;

static void push(char *folder) {
    pthread_mutex_lock(&lock);
    if (held == room) folders = realloc(folders, (room = room ? room * 2 : 64) * sizeof *folders);
    folders[held++] = folder;
    pthread_cond_signal(&more);
    pthread_mutex_unlock(&lock);
}

static long one_folder(const char *folder) {
    static _Thread_local char buffer[1 << 16];
    long seen = 0;
    DIR *dir = opendir(folder);
    if (!dir) return 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        if (entry->d_type == DT_DIR) {
            char *path;
            if (asprintf(&path, "%s/%s", folder, entry->d_name) < 0) abort();
            push(path);
        } else if (reading) {
            struct stat found;
            int file = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
            if (file < 0) continue;
            fstat(file, &found);
            while (read(file, buffer, sizeof buffer) > 0) {}
            close(file);
            seen++;
        } else {
            struct statx found;
            statx(dirfd(dir), entry->d_name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &found);
            seen++;
        }
    }
    closedir(dir);
    return seen;
}

static void *walker(void *unused) {
    long seen = 0;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (!held && at_work) pthread_cond_wait(&more, &lock);
        if (!held) break;
        char *folder = folders[--held];
        at_work++;
        pthread_mutex_unlock(&lock);
        seen += one_folder(folder);
        free(folder);
        pthread_mutex_lock(&lock);
        if (!--at_work && !held) pthread_cond_broadcast(&more);
    }
    files += seen;
    pthread_mutex_unlock(&lock);
    return unused;
}

static void *spawner(void *unused) {
    char *arguments[] = {program, NULL}, *environment[] = {NULL};
    while (__atomic_fetch_sub(&left, 1, __ATOMIC_RELAXED) > 0) {
        pid_t process;
        int status;
        if (posix_spawn(&process, program, NULL, NULL, arguments, environment)) abort();
        waitpid(process, &status, 0);
    }
    return unused;
}

// OUT is in the folder at hand; its name is that of the thread.
static void *filterer(void *unused) {
    static _Thread_local char buffer[1 << 16];
    char out[32], *arguments[] = {program, input, out, NULL}, *environment[] = {NULL};
    snprintf(out, sizeof out, "out-%lx", (unsigned long)pthread_self());
    while (__atomic_fetch_sub(&left, 1, __ATOMIC_RELAXED) > 0) {
        pid_t process;
        int status;
        if (posix_spawn(&process, program, NULL, NULL, arguments, environment)) abort();
        waitpid(process, &status, 0);
        int made = open(out, O_RDONLY);
        if (status || made < 0 || read(made, buffer, sizeof buffer) < 0) abort();
        close(made);
        unlink(out);
    }
    return unused;
}

int main(int count, char **words) {
    struct timespec began, ended;
    pthread_t threads[2];
    void *(*work)(void *) = walker;
    if (count < 3) return 2;
    clock_gettime(CLOCK_MONOTONIC, &began);
    if (!strcmp(words[1], "spawn") && count > 3) {
        files = left = atol(words[2]);
        program = words[3];
        work = spawner;
    } else if (!strcmp(words[1], "filter") && count > 4) {
        files = left = atol(words[2]);
        program = words[3];
        input = words[4];
        work = filterer;
    } else {
        reading = !strcmp(words[1], "read");
        push(strdup(words[2]));
    }
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%.6f %ld\n", (ended.tv_sec - began.tv_sec) + (ended.tv_nsec - began.tv_nsec) / 1e9, files);
}
