/* A disk that fails, for LD_PRELOAD: what a process writes to usher.db and usher.db-wal goes through here.
 *
 * DISK_ORDERS names a file with at most one line, read anew at every call:
 *     write N      the N-th write from now on fails with EIO, once
 *     fsync N      likewise
 *     checkpoint N the N-th fsync of usher.db itself, which is where SQLite writes its log back to
 *     limit BYTES  no file may grow beyond that: ENOSPC
 *     quota BYTES  likewise, and there may be no other file: EDQUOT
 *     die N        the process is killed before its N-th write, or N-th message to a database server
 * When a write or fsync was failed, or before the process dies, DISK_ORDERS.done appears.
 *
 * DISK_UNDO names a directory in which each write notes what it overwrites until the file is synced; with it, the test
 * takes back what a power cut would have lost. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char orders[128];
static long calls;

/* The name of a database file behind a descriptor. */
static const char *watched(int fd, char path[4096]) {
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, 4095);
    if (n <= 0) return NULL;
    path[n] = 0;
    const char *base = strrchr(path, '/');
    if (!base) return NULL;
    const char *names[] = {"/usher.db", "/usher.db-wal", "/usher.db-probe"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(base, names[i]) == 0) return base + 1;
    }
    return NULL;
}

/* The error with which a call is to fail, or 0. `size` is what the file would grow to. */
static int refusal(const char *kind, off_t size) {
    const char *file = getenv("DISK_ORDERS");
    char now[sizeof orders] = "", word[16] = "";
    long number = 0;
    int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return 0;
    ssize_t n = read(fd, now, sizeof now - 1);
    close(fd);
    if (n < 0) return 0;
    if (strcmp(now, orders)) {
        strcpy(orders, now);
        calls = 0;
    }
    sscanf(now, "%15s %ld", word, &number);
    if (strcmp(word, "limit") == 0) return size > number ? ENOSPC : 0;
    if (strcmp(word, "quota") == 0) return size > number ? EDQUOT : 0;
    int dies = strcmp(word, "die") == 0 && (strcmp(kind, "write") == 0 || strcmp(kind, "message") == 0);
    if ((strcmp(word, kind) && !dies) || ++calls != number) return 0;
    char done[4096];
    snprintf(done, sizeof done, "%s.done", file);
    close(open(done, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    if (dies) kill(getpid(), SIGKILL);
    return EIO;
}

static int open_undo(const char *name) {
    char path[4096];
    if (!getenv("DISK_UNDO")) return -1;
    snprintf(path, sizeof path, "%s/%s", getenv("DISK_UNDO"), name);
    return open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* Notes what stands at `offset`: where, the file's size, how many bytes, the bytes. */
static void note(int fd, const char *name, off_t offset, size_t length) {
    struct stat about;
    int undo = open_undo(name);
    if (undo < 0) return;
    char *old = malloc(length ? length : 1);
    ssize_t n = pread(fd, old, length, offset);
    fstat(fd, &about);
    long head[3] = {offset, about.st_size, n > 0 ? n : 0};
    struct iovec parts[2] = {{head, sizeof head}, {old, head[2]}};
    if (writev(undo, parts, 2) < 0) abort();
    free(old);
    close(undo);
}

static ssize_t put(int fd, const void *bytes, size_t length, off_t at) {
    char path[4096];
    const char *name = watched(fd, path);
    ssize_t (*real_write)(int, const void *, size_t) = REAL(write);
    if (!name) return at < 0 ? real_write(fd, bytes, length) : REAL(pwrite64)(fd, bytes, length, at);
    pthread_mutex_lock(&lock);
    off_t offset = at < 0 ? lseek(fd, 0, SEEK_CUR) : at;
    int is_new = strcmp(name, "usher.db-probe") == 0;
    int error = refusal("write", is_new ? LONG_MAX : offset + (off_t)length);
    if (!error) note(fd, name, offset, length);
    ssize_t done = error ? -1 : at < 0 ? real_write(fd, bytes, length) : REAL(pwrite64)(fd, bytes, length, at);
    if (error) errno = error;
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) { return put(fd, bytes, length, -1); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return put(fd, bytes, length, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) { return put(fd, bytes, length, at); }

/* What goes over a socket is counted, and not failed. */
static void count_message(void) {
    pthread_mutex_lock(&lock);
    refusal("message", 0);
    pthread_mutex_unlock(&lock);
}

ssize_t send(int fd, const void *bytes, size_t length, int flags) {
    count_message();
    return REAL(send)(fd, bytes, length, flags);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct stat about;
    if (fstat(fd, &about) == 0 && S_ISSOCK(about.st_mode)) count_message();
    return REAL(writev)(fd, parts, count);
}

static int cut(int fd, off_t length) {
    char path[4096];
    struct stat about;
    const char *name = watched(fd, path);
    pthread_mutex_lock(&lock);
    if (name && fstat(fd, &about) == 0 && about.st_size > length) note(fd, name, length, about.st_size - length);
    int done = REAL(ftruncate64)(fd, length);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t length) { return cut(fd, length); }
int ftruncate64(int fd, off64_t length) { return cut(fd, length); }

static int settle(int fd, int (*real)(int)) {
    char path[4096];
    const char *name = watched(fd, path);
    if (!name) return real(fd);
    pthread_mutex_lock(&lock);
    int error = refusal("fsync", 0);
    if (!error && strcmp(name, "usher.db") == 0) error = refusal("checkpoint", 0);
    int done = error ? -1 : real(fd);
    if (error) errno = error;
    int undo = done ? -1 : open_undo(name);
    if (undo >= 0) {
        if (REAL(ftruncate64)(undo, 0)) abort();
        close(undo);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int fsync(int fd) { return settle(fd, REAL(fsync)); }
int fdatasync(int fd) { return settle(fd, REAL(fdatasync)); }
