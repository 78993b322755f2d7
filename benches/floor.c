// The floor: the least that a container costs on this kernel.
//
//     floor [-u] LOWER SCRATCH COMMAND [ARGUMENT...]
//
// One clone3 with all namespaces, an overlay of LOWER with a fresh upper directory in SCRATCH, the
// mounts that every container has, pivot_root, a system call filter of the usual length, exec, wait,
// removal of the upper directory. `-u`: in a user namespace, as a user without root would do it.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void need(int good, const char *what) {
    if (!good) {
        perror(what);
        _exit(125);
    }
}

static void write_file(const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    need(file >= 0, path);
    need(write(file, text, strlen(text)) >= 0, path);
    close(file);
}

static void become_root_of_namespace(uid_t uid, gid_t gid) {
    char text[64];
    write_file("/proc/self/setgroups", "deny");
    snprintf(text, sizeof text, "0 %u 1", uid);
    write_file("/proc/self/uid_map", text);
    snprintf(text, sizeof text, "0 %u 1", gid);
    write_file("/proc/self/gid_map", text);
}

static void mount_at(const char *type, const char *target, unsigned long flags, const char *data) {
    need(mount(type, target, type, flags, data) == 0, target);
}

// Below the current directory.
static void usual_mounts(void) {
    const unsigned long safe = MS_NOSUID | MS_NOEXEC | MS_NODEV;
    mount_at("proc", "proc", safe, NULL);
    mount_at("tmpfs", "dev", MS_NOSUID | MS_STRICTATIME, "mode=755,size=64m");
    mkdir("dev/pts", 0755);
    mkdir("dev/shm", 01777);
    mkdir("dev/mqueue", 0755);
    mount_at("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620");
    mount_at("tmpfs", "dev/shm", safe, "mode=1777,size=64m");
    mount_at("mqueue", "dev/mqueue", safe, NULL);
    mount_at("sysfs", "sys", safe | MS_RDONLY, NULL);
    static const char *const nodes[] = {"null", "zero", "full", "random", "urandom", "tty"};
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        char inside[32], outside[32];
        snprintf(inside, sizeof inside, "dev/%s", nodes[i]);
        snprintf(outside, sizeof outside, "/dev/%s", nodes[i]);
        close(open(inside, O_CREAT | O_WRONLY | O_CLOEXEC, 0666));
        need(mount(outside, inside, NULL, MS_BIND, NULL) == 0, inside);
    }
    static const char *const hidden[] = {"proc/kcore", "proc/keys", "proc/timer_list"};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        mount("/dev/null", hidden[i], NULL, MS_BIND, NULL);
    static const char *const frozen[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys"};
    for (size_t i = 0; i < sizeof frozen / sizeof *frozen; i++) {
        mount(frozen[i], frozen[i], NULL, MS_BIND | MS_REC, NULL);
        mount(NULL, frozen[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | safe, NULL);
    }
}

static void loopback_up(void) {
    struct ifreq request = {.ifr_flags = IFF_UP};
    strcpy(request.ifr_name, "lo");
    int endpoint = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    need(endpoint >= 0 && ioctl(endpoint, SIOCSIFFLAGS, &request) == 0, "lo");
    close(endpoint);
}

static void filter_system_calls(void) {
    enum { LENGTH = 300 };
    static struct sock_filter program[LENGTH];
    program[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
    for (int i = 1; i < LENGTH - 1; i++)
        program[i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1000000 + i, 0, 0);
    program[LENGTH - 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog all = {.len = LENGTH, .filter = program};
    need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
    need(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &all) == 0, "seccomp");
}

static char scratch[256];

static const char *in_scratch(const char *name) {
    static char path[4][320];
    static int next;
    char *text = path[next++ % 4];
    snprintf(text, 320, "%s/%s", scratch, name);
    return text;
}

static void contain(const char *lower, int user, uid_t uid, gid_t gid) {
    if (user)
        become_root_of_namespace(uid, gid);
    need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "/");
    char options[2048];
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s,volatile%s", lower,
             in_scratch("upper"), in_scratch("work"), user ? ",userxattr" : "");
    const char *root = in_scratch("merged");
    need(mount("overlay", root, "overlay", 0, options) == 0, "overlay");
    need(chdir(root) == 0, root);
    usual_mounts();
    need(syscall(SYS_pivot_root, ".", ".") == 0, "pivot_root");
    need(umount2(".", MNT_DETACH) == 0, "umount");
    need(chdir("/") == 0, "/");
    need(sethostname("floor", 5) == 0, "sethostname");
    loopback_up();
    filter_system_calls();
}

int main(int count, char **words) {
    int user = count > 1 && strcmp(words[1], "-u") == 0;
    words += user;
    if (count - user < 4) {
        fprintf(stderr, "usage: floor [-u] LOWER SCRATCH COMMAND [ARGUMENT...]\n");
        return 2;
    }
    snprintf(scratch, sizeof scratch, "%s/%d", words[2], getpid());
    static const char *const made[] = {"", "upper", "work", "merged"};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        need(mkdir(in_scratch(made[i]), 0755) == 0, in_scratch(made[i]));
    uid_t uid = geteuid();
    gid_t gid = getegid();
    struct clone_args arguments = {
        .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET |
                 CLONE_NEWCGROUP | CLONE_VFORK | (user ? CLONE_NEWUSER : 0),
        .exit_signal = SIGCHLD,
    };
    long child = syscall(SYS_clone3, &arguments, sizeof arguments);
    need(child >= 0, "clone3");
    if (child == 0) {
        contain(words[1], user, uid, gid);
        execvp(words[3], words + 3);
        need(0, words[3]);
    }
    int status = 0;
    need(waitpid((pid_t)child, &status, 0) == child, "waitpid");
    // The kernel makes them for nobody to look into.
    chmod(in_scratch("work/work"), 0700);
    chmod(in_scratch("work/work/incompat"), 0700);
    chmod(in_scratch("work/work/incompat/volatile"), 0700);
    unlink(in_scratch("work/work/incompat/volatile/dirty"));
    static const char *const gone[] = {"work/work/incompat/volatile", "work/work/incompat",
                                       "work/work", "work", "upper", "merged", ""};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        need(rmdir(in_scratch(gone[i])) == 0 || strchr(gone[i], '/'), in_scratch(gone[i]));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
