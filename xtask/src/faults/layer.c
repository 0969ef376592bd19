/* A layer between an unchanged program and its files, loaded by LD_PRELOAD: it shortens, interrupts, tears and refuses
   what is done to files below one folder, and writes down what was done to them. All else goes straight to the kernel.

   LAYER_BELOW  the folder, an absolute path without links
   LAYER_LOG    where it is written down what happened: fields between tabs, a line each
   LAYER_DO     short, torn (a part is written and the process dies) or fail; anything else only counts
   LAYER_CALLS  to which calls, by name and between commas: see NAMES
   LAYER_WITHIN to those of them whose path has this in it
   LAYER_FROM   the first of them, from 1; LAYER_EVERY the distance of the next ones, 0: it is the only one
   LAYER_ERROR  the number of the error
   LAYER_SEED   how much of a write is done
   LAYER_KEEP   a folder in which files stay that were removed or replaced; without it nothing is recorded */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* What may be done to a file. `create` is any open for writing, `open` one for reading. */
enum call { WRITE, SYNC, RENAME, CREATE, OPEN, READ, LOCK, MAKE, REMOVE, CUT, CALLS };
static const char *const NAMES[CALLS] = {"write", "sync", "rename", "create", "open",
                                         "read",  "lock", "make",   "remove", "cut"};

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static const char *below, *keep, *within, *what = "";
static int journal = -1, error_number;
static unsigned long from, every, seed, met, kept, made[CALLS];
static bool chosen[CALLS];

static unsigned long number(const char *name) {
    const char *text = getenv(name);
    return text ? strtoul(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("LAYER_LOG"), *calls = getenv("LAYER_CALLS");
    if (!log || !getenv("LAYER_BELOW")) return;
    if (getenv("LAYER_DO")) what = getenv("LAYER_DO");
    keep = getenv("LAYER_KEEP");
    within = getenv("LAYER_WITHIN");
    from = number("LAYER_FROM");
    every = number("LAYER_EVERY");
    seed = number("LAYER_SEED");
    error_number = (int)number("LAYER_ERROR");
    for (int call = 0; calls && call < CALLS; call++) {
        const char *found = strstr(calls, NAMES[call]);
        chosen[call] = found && (found == calls || found[-1] == ',');
    }
    journal = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    below = getenv("LAYER_BELOW");
}

__attribute__((destructor)) static void end(void) {
    for (int call = 0; below && call < CALLS; call++)
        if (made[call]) dprintf(journal, "made\t%s\t%lu\n", NAMES[call], made[call]);
}

static bool is_below(const char *path) {
    size_t length = below ? strlen(below) : 0;
    return length && !strncmp(path, below, length) && (path[length] == '/' || !path[length]);
}

/* Where a descriptor leads to; whether that is below the folder. */
static bool of_file(int file, char path[PATH_MAX]) {
    char link[64];
    if (!below || file == journal) return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return is_below(path);
}

/* The same for a path as it was given. */
static bool of_path(int folder, const char *given, char path[PATH_MAX]) {
    char start[PATH_MAX] = "";
    if (!below) return false;
    if (given[0] != '/' && folder == AT_FDCWD && !getcwd(start, sizeof start)) return false;
    if (given[0] != '/' && folder != AT_FDCWD) of_file(folder, start);
    return snprintf(path, PATH_MAX, "%s%s%s", start, *start ? "/" : "", given) < PATH_MAX && is_below(path);
}

/* Counts a call; whether it is to be met by what is done. Whoever asks holds the mutex. */
static bool is_met(enum call call, const char *path) {
    made[call]++;
    if (!chosen[call] || (within && !strstr(path, within))) return false;
    unsigned long n = ++met;
    if (n < from || (every ? (n - from) % every : n - from)) return false;
    dprintf(journal, "met\t%s\t%s\n", NAMES[call], path);
    return true;
}

static bool is_refused(enum call call, const char *path) {
    bool refused = is_met(call, path) && !strcmp(what, "fail");
    if (refused) errno = error_number;
    return refused;
}

static unsigned long inode(const char *path) {
    struct stat found;
    return lstat(path, &found) ? 0 : found.st_ino;
}

static unsigned long parent(const char *path) {
    char folder[PATH_MAX];
    strcpy(folder, path);
    *strrchr(folder, '/') = 0;
    return inode(folder);
}

static const char *name(const char *path) { return strrchr(path, '/') + 1; }

/* Keeps a file that is about to go under a number; 0 where there is none. */
static unsigned long keep_file(const char *path) {
    char to[PATH_MAX];
    struct stat found;
    if (!keep || lstat(path, &found) || !S_ISREG(found.st_mode)) return 0;
    snprintf(to, sizeof to, "%s/%lu", keep, ++kept);
    return syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, to, 0) ? 0 : kept;
}

static int open_file(int folder, const char *given, int flags, mode_t mode) {
    char path[PATH_MAX];
    if (!of_path(folder, given, path)) return (int)syscall(SYS_openat, folder, given, flags, mode);
    bool writes = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
    pthread_mutex_lock(&one_at_a_time);
    int file = -1;
    if (!is_refused(writes ? CREATE : OPEN, path)) {
        bool is_new = keep && flags & O_CREAT && !inode(path);
        file = (int)syscall(SYS_openat, folder, given, flags, mode);
        if (is_new && file >= 0)
            dprintf(journal, "make\t%lu\t%s\t%lu\n", parent(path), name(path), inode(path));
    }
    pthread_mutex_unlock(&one_at_a_time);
    return file;
}

static ssize_t transfer(bool writes, int file, const struct iovec *parts, int count, off_t at) {
    long call = writes ? (at < 0 ? SYS_writev : SYS_pwritev) : (at < 0 ? SYS_readv : SYS_preadv);
    char path[PATH_MAX];
    if (!of_file(file, path)) return syscall(call, file, parts, count, at, 0);
    pthread_mutex_lock(&one_at_a_time);
    bool is_hit = is_met(writes ? WRITE : READ, path);
    ssize_t done = -1;
    if (is_hit && !strcmp(what, "fail")) {
        errno = error_number;
    } else {
        bool tears = is_hit && !strcmp(what, "torn");
        struct iovec part = count ? parts[0] : (struct iovec){0};
        if (tears || (is_hit && !strcmp(what, "short") && part.iov_len > 1)) {
            seed = seed * 6364136223846793005UL + 1442695040888963407UL;
            part.iov_len = part.iov_len > 1 ? 1 + (seed >> 33) % (part.iov_len - 1) : 0;
            parts = &part;
            count = 1;
        }
        struct stat before, after;
        bool recorded = keep && writes && !fstat(file, &before);
        done = syscall(call, file, parts, count, at, 0);
        if (recorded && done > 0 && !fstat(file, &after))
            dprintf(journal, "write\t%lu\t%ld\t%ld\n", after.st_ino, (long)before.st_size, (long)after.st_size);
        if (tears) kill(getpid(), SIGKILL), pause();
    }
    pthread_mutex_unlock(&one_at_a_time);
    return done;
}

static int sync_file(long call, int file) {
    char path[PATH_MAX];
    if (!of_file(file, path)) return (int)syscall(call, file);
    pthread_mutex_lock(&one_at_a_time);
    int done = is_refused(SYNC, path) ? -1 : (int)syscall(call, file);
    if (keep && !done) dprintf(journal, "sync\t%lu\n", inode(path));
    pthread_mutex_unlock(&one_at_a_time);
    return done;
}

static int rename_file(int here, const char *old, int there, const char *new, unsigned flags) {
    char before[PATH_MAX], after[PATH_MAX];
    if (!of_path(here, old, before) || !of_path(there, new, after))
        return (int)syscall(SYS_renameat2, here, old, there, new, flags);
    pthread_mutex_lock(&one_at_a_time);
    int done = -1;
    if (!is_refused(RENAME, after)) {
        unsigned long replaced = keep_file(after);
        done = (int)syscall(SYS_renameat2, here, old, there, new, flags);
        if (keep && !done)
            dprintf(journal, "move\t%lu\t%s\t%lu\t%s\t%lu\t%lu\n", parent(before), name(before), parent(after),
                    name(after), inode(after), replaced);
    }
    pthread_mutex_unlock(&one_at_a_time);
    return done;
}

static int remove_file(int folder, const char *given, int flags) {
    char path[PATH_MAX];
    if (!of_path(folder, given, path)) return (int)syscall(SYS_unlinkat, folder, given, flags);
    pthread_mutex_lock(&one_at_a_time);
    int done = -1;
    if (!is_refused(REMOVE, path)) {
        unsigned long removed = inode(path), as = keep_file(path);
        done = (int)syscall(SYS_unlinkat, folder, given, flags);
        if (keep && !done) dprintf(journal, "drop\t%lu\t%s\t%lu\t%lu\n", parent(path), name(path), removed, as);
    }
    pthread_mutex_unlock(&one_at_a_time);
    return done;
}

static int make_folder(int folder, const char *given, mode_t mode) {
    char path[PATH_MAX];
    if (!of_path(folder, given, path)) return (int)syscall(SYS_mkdirat, folder, given, mode);
    pthread_mutex_lock(&one_at_a_time);
    int done = is_refused(MAKE, path) ? -1 : (int)syscall(SYS_mkdirat, folder, given, mode);
    if (keep && !done) dprintf(journal, "make\t%lu\t%s\t%lu\n", parent(path), name(path), inode(path));
    pthread_mutex_unlock(&one_at_a_time);
    return done;
}

static int cut_file(int file, off_t length) {
    char path[PATH_MAX];
    if (!of_file(file, path)) return (int)syscall(SYS_ftruncate, file, length);
    pthread_mutex_lock(&one_at_a_time);
    struct stat before;
    bool grows = keep && !fstat(file, &before) && before.st_size < length;
    int done = is_refused(CUT, path) ? -1 : (int)syscall(SYS_ftruncate, file, length);
    if (grows && !done)
        dprintf(journal, "write\t%lu\t%ld\t%ld\n", before.st_ino, (long)before.st_size, (long)length);
    pthread_mutex_unlock(&one_at_a_time);
    return done;
}

/* One that may wait is not made under the mutex. */
static bool is_refused_to(int file, enum call call) {
    char path[PATH_MAX];
    if (!of_file(file, path)) return false;
    pthread_mutex_lock(&one_at_a_time);
    bool refused = is_refused(call, path);
    pthread_mutex_unlock(&one_at_a_time);
    return refused;
}

/* The calls themselves, under all the names by which a program may know them. */

#define SAME(name) __attribute__((alias(name)))
#define MODE(last) \
    va_list rest; \
    va_start(rest, last); \
    mode_t mode = va_arg(rest, mode_t); \
    va_end(rest)

int open(const char *path, int flags, ...) {
    MODE(flags);
    return open_file(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) SAME("open");
int openat(int folder, const char *path, int flags, ...) {
    MODE(flags);
    return open_file(folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) SAME("openat");
int creat(const char *path, mode_t mode) { return open_file(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) SAME("creat");

ssize_t write(int file, const void *bytes, size_t length) {
    return transfer(true, file, &(struct iovec){(void *)bytes, length}, 1, -1);
}
ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) {
    return transfer(true, file, &(struct iovec){(void *)bytes, length}, 1, at);
}
ssize_t pwrite64(int file, const void *bytes, size_t length, off_t at) SAME("pwrite");
ssize_t writev(int file, const struct iovec *parts, int count) { return transfer(true, file, parts, count, -1); }
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at) {
    return transfer(true, file, parts, count, at);
}
ssize_t pwritev64(int file, const struct iovec *parts, int count, off_t at) SAME("pwritev");
ssize_t read(int file, void *bytes, size_t length) {
    return transfer(false, file, &(struct iovec){bytes, length}, 1, -1);
}
ssize_t pread(int file, void *bytes, size_t length, off_t at) {
    return transfer(false, file, &(struct iovec){bytes, length}, 1, at);
}
ssize_t pread64(int file, void *bytes, size_t length, off_t at) SAME("pread");
ssize_t readv(int file, const struct iovec *parts, int count) { return transfer(false, file, parts, count, -1); }
/* Whoever is refused these takes reads and writes instead. */
ssize_t copy_file_range(int in, off_t *from_at, int out, off_t *to_at, size_t length, unsigned flags) {
    char path[PATH_MAX];
    if (of_file(in, path) || of_file(out, path)) return errno = ENOSYS, -1;
    return syscall(SYS_copy_file_range, in, from_at, out, to_at, length, flags);
}
ssize_t sendfile(int out, int in, off_t *at, size_t length) {
    char path[PATH_MAX];
    if (of_file(in, path) || of_file(out, path)) return errno = ENOSYS, -1;
    return syscall(SYS_sendfile, out, in, at, length);
}
ssize_t sendfile64(int out, int in, off_t *at, size_t length) SAME("sendfile");

int fsync(int file) { return sync_file(SYS_fsync, file); }
int fdatasync(int file) { return sync_file(SYS_fdatasync, file); }
int ftruncate(int file, off_t length) { return cut_file(file, length); }
int ftruncate64(int file, off_t length) SAME("ftruncate");

int rename(const char *old, const char *new) { return rename_file(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat(int here, const char *old, int there, const char *new) {
    return rename_file(here, old, there, new, 0);
}
int renameat2(int here, const char *old, int there, const char *new, unsigned flags) {
    return rename_file(here, old, there, new, flags);
}
int unlink(const char *path) { return remove_file(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return remove_file(folder, path, flags); }
int rmdir(const char *path) { return remove_file(AT_FDCWD, path, AT_REMOVEDIR); }
int mkdir(const char *path, mode_t mode) { return make_folder(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { return make_folder(folder, path, mode); }

int flock(int file, int how) {
    return !(how & LOCK_UN) && is_refused_to(file, LOCK) ? -1 : (int)syscall(SYS_flock, file, how);
}
int fcntl(int file, int command, ...) {
    va_list rest;
    va_start(rest, command);
    long argument = va_arg(rest, long);
    va_end(rest);
    bool locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW;
    return locks && is_refused_to(file, LOCK) ? -1 : (int)syscall(SYS_fcntl, file, command, argument);
}
int fcntl64(int file, int command, ...) SAME("fcntl");
