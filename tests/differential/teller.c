/*
 * The program of the Linux guest whose page tables are compared. Its children map memory in every way that leaves
 * different entries behind; then it tells, from /proc/PID/pagemap, which frame is behind each page of every other
 * process. The kernel reports it, so it does not depend on any page walk.
 *
 * On standard output: a line "page PID VIRT FRAME COUNT PERMISSIONS" for each run of pages (hexadecimal but for the
 * pid), then "told", and then it sleeps.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, LARGE = 2 << 20, CHILDREN = 3 };

static void die(const char *what) {
    perror(what);
    exit(1);
}

static char *map(void *hint, size_t bytes, int rights, int flags, int file) {
    char *at = mmap(hint, bytes, rights, flags, file, 0);
    if (at == MAP_FAILED) die("mmap");
    return at;
}

static void write_pages(char *at, size_t pages, size_t stride) {
    for (size_t page = 0; page < pages; page += stride) at[page * PAGE] = 1;
}

static char read_pages(const volatile char *at, size_t pages) {
    char sum = 0;
    for (size_t page = 0; page < pages; page++) sum += at[page * PAGE];
    return sum;
}

/* Pages that parent and children share, and private pages after a fork. */
static char *common, *inherited;

static void be_a_child(int number, int ready) {
    const int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    int self = open("/proc/self/exe", O_RDONLY);
    if (self < 0) die("/proc/self/exe");
    write_pages(inherited + number * PAGE, 64, 7); /* these are copied, the others stay shared and read-only */
    write_pages(common, 300, 2 + number);
    read_pages(map(NULL, 16 * PAGE, PROT_READ, MAP_SHARED, self), 16);
    write_pages(map(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, self), 16, 3);
    read_pages(map(NULL, 8 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, self), 8);
    read_pages(map(NULL, 40 * PAGE, PROT_READ | PROT_WRITE, anonymous, -1), 40); /* the page of zeroes, 40 times */

    char *changed = map(NULL, 12 * PAGE, PROT_READ | PROT_WRITE, anonymous, -1);
    write_pages(changed, 12, 1);
    mprotect(changed, 3 * PAGE, PROT_READ);
    mprotect(changed + 3 * PAGE, 3 * PAGE, PROT_READ | PROT_EXEC);
    mprotect(changed + 6 * PAGE, 3 * PAGE, PROT_NONE); /* has frames, and the processor does not see them */
    madvise(changed + 10 * PAGE, PAGE, MADV_DONTNEED);

    /* Large pages: made for private memory, and from the pool. One is split by what is done to a page of it. */
    char *large = map(NULL, 6 * LARGE, PROT_READ | PROT_WRITE, anonymous, -1);
    large = (char *)(((uintptr_t)large + LARGE - 1) & ~(uintptr_t)(LARGE - 1));
    madvise(large, 5 * LARGE, MADV_HUGEPAGE);
    write_pages(large, 4 * (LARGE / PAGE), LARGE / PAGE);
    read_pages(large + 4 * LARGE, 1);
    mprotect(large + LARGE, PAGE, PROT_READ);
    mprotect(large + 2 * LARGE, LARGE, PROT_READ);
    write_pages(map(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1), 1, 1);

    /* The same frames twice in one address space, and addresses far apart, beyond 47 bits where there are more. */
    char *twice = mremap(common, 0, 20 * PAGE, MREMAP_MAYMOVE);
    if (twice == MAP_FAILED) die("mremap");
    read_pages(twice, 20);
    for (int bit = 24; bit < 57; bit++) {
        write_pages(map((void *)(1ul << bit), 2 * PAGE, PROT_READ | PROT_WRITE, anonymous, -1), 2, 1);
    }
    write_pages(map((void *)0x10000, PAGE, PROT_READ | PROT_WRITE, anonymous | MAP_FIXED, -1), 1, 1);
    if (write(ready, "x", 1) != 1) die("write");
    for (;;) pause();
}

static void tell_range(int pid, int pagemap, uint64_t start, uint64_t end, const char *permissions) {
    uint64_t first = 0, frame = 0, count = 0;
    for (uint64_t at = start; at <= end; at += PAGE) {
        uint64_t entry = 0;
        if (at < end && pread(pagemap, &entry, sizeof entry, at / PAGE * sizeof entry) != sizeof entry) die("pagemap");
        int present = entry >> 63;
        uint64_t number = entry & ((1ull << 55) - 1);
        if (count && present && number == frame + count) {
            count++;
            continue;
        }
        if (count) printf("page %d %lx %lx %lx %s\n", pid, first, frame, count, permissions);
        first = at, frame = number, count = present;
    }
}

static void tell(int pid) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "r");
    snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
    int pagemap = open(path, O_RDONLY);
    if (!maps || pagemap < 0) die(path);
    while (fgets(line, sizeof line, maps)) {
        uint64_t start, end;
        char permissions[5];
        if (sscanf(line, "%lx-%lx %4s", &start, &end, permissions) != 3) die("maps");
        if (start >> 63 == 0) tell_range(pid, pagemap, start, end, permissions);
    }
    fclose(maps);
    close(pagemap);
}

int main(void) {
    int ready[2];
    char byte;
    common = map(NULL, 300 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    inherited = map(NULL, 70 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    write_pages(inherited, 70, 1);
    if (pipe(ready)) die("pipe");
    for (int number = 0; number < CHILDREN; number++) {
        if (fork() == 0) be_a_child(number, ready[1]);
    }
    close(ready[1]);
    for (int number = 0; number < CHILDREN; number++) {
        if (read(ready[0], &byte, 1) != 1) die("read");
    }
    DIR *processes = opendir("/proc");
    if (!processes) die("/proc");
    for (struct dirent *entry; (entry = readdir(processes));) {
        int pid = atoi(entry->d_name);
        if (pid > 0 && pid != getpid()) tell(pid);
    }
    printf("told\n");
    fflush(stdout);
    for (;;) pause();
}
