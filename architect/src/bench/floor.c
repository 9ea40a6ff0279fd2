/* The yardstick of `architect bench`: what KVM and Linux need by themselves, for the same guests, in bare calls.
 *
 * Freestanding and static: no C library, no allocation, nothing is checked but that it works. `floor start` is the
 * least that a VMM can do from its start to the first byte of a guest. Without an argument it reads commands from
 * standard input, a letter and a 32-bit number each, does and times one thing for each, and writes the nanoseconds to
 * standard output as a 64-bit number. The guest is that of vmm/src/bench/guest.rs: it stops at A, at B, writes a word
 * in so many pages, stops at C, and again. A reset or a fork goes back to A and ends at B.
 *
 *   e N  one of N exits                  f 0  a new VM from the snapshot to its first exit
 *   r N  reset with N pages written      t 0  the end of such a VM
 *   s N  the same in as few calls as ours, with its looks at all state that a guest changes without KVM telling it
 *   b N  the same without those looks    v N  N more VMs, which stay
 */
#include <linux/kvm.h>

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

enum { READ = 0, WRITE = 1, OPEN = 2, CLOSE = 3, MMAP = 9, MUNMAP = 11, IOCTL = 16, FTRUNCATE = 77,
       CLOCK_GETTIME = 228, EXIT_GROUP = 231, MEMFD_CREATE = 319 };
enum { PROT_RW = 3, SHARED = 1, PRIVATE = 2, ANONYMOUS = 0x20, NORESERVE = 0x4000, RDWR_CLOEXEC = 02000002 };

static long sys(long n, long a, long b, long c, long d, long e, long f)
{
	long out;
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "=a"(out) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return out;
}
#define sys3(n, a, b, c) sys(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)

static void must(int works)
{
	if (!works)
		sys3(EXIT_GROUP, 1, 0, 0);
}

static long ioctl(int fd, u64 call, const void *arg)
{
	long out = sys3(IOCTL, fd, call, arg);
	must(out >= 0);
	return out;
}

static void *map(u64 bytes, int flags, int fd)
{
	long at = sys(MMAP, 0, bytes, PROT_RW, flags, fd, 0);
	must(at > 0 || at < -4095);
	return (void *)at;
}

static void copy(void *to, const void *from, u64 bytes)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

/* Not as a string instruction, which costs a step for each byte where instructions are emulated. */
static void copy_page(void *to, const void *from)
{
	typedef long long pair __attribute__((vector_size(16)));
	pair *out = to;
	const pair *in = from;

	for (u32 n = 0; n < 4096 / sizeof(pair); n += 4) {
		pair a = in[n], b = in[n + 1], c = in[n + 2], d = in[n + 3];
		out[n] = a, out[n + 1] = b, out[n + 2] = c, out[n + 3] = d;
	}
}

static u64 ticks(void)
{
	u32 low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (u64)high << 32 | low;
}

#define MEMORY (64UL << 20)
#define CODE 0x100000UL
#define PAGE 4096UL
#define TABLES 0x80000UL
#define KERNEL 0xffffffff80000000UL

static struct kvm_regs regs;
static struct kvm_sregs sregs;
static u64 log[MEMORY / PAGE / 64];
static int kvm, snapshot, run_bytes;
static u8 *base;

struct vm {
	int vm, vcpu;
	u8 *memory;
	struct kvm_run *run;
};

/* What vmm/src/cpu.rs shows a guest; the values decide nothing here. */
static struct {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 leaves[8];
} cpuid = { { .nent = 8 }, {
	{ .function = 0, .eax = 7, .ebx = 0x4b4d564b, .ecx = 0x4d, .edx = 0x564b4d56 },
	{ .function = 1, .eax = 0x600f00, .ebx = 0x10800, .ecx = 0x80202000, .edx = 0x078bfbfd },
	{ .function = 7 },
	{ .function = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b, .ecx = 0x564b4d56, .edx = 0x4d },
	{ .function = 0x40000001, .eax = 0x100000b },
	{ .function = 0x80000000, .eax = 0x80000008 },
	{ .function = 0x80000001, .ecx = 1, .edx = 0x20100800 },
	{ .function = 0x80000008, .eax = 0x3028 },
} };
static struct kvm_lapic_state lapic;

/* The least for a guest: memory first, then the interrupt controller, then the processor. */
static void build(struct vm *it, u8 *memory, int flags)
{
	struct kvm_userspace_memory_region slot = { 0, flags, 0, MEMORY, (u64)memory };
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP };

	it->memory = memory;
	it->vm = ioctl(kvm, KVM_CREATE_VM, 0);
	ioctl(it->vm, KVM_SET_USER_MEMORY_REGION, &slot);
	ioctl(it->vm, KVM_ENABLE_CAP, &split);
	it->vcpu = ioctl(it->vm, KVM_CREATE_VCPU, 0);
	it->run = map(run_bytes, SHARED, it->vcpu);
}

/* CPUID, the local APIC set once, or it loses NMIs, and 32-bit flat protected mode, at the code. */
static void power_on(struct vm *it)
{
	struct kvm_segment flat = { .limit = ~0u, .selector = 0x10, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1 };
	struct kvm_regs start = { .rip = CODE, .rflags = 2 };

	ioctl(it->vcpu, KVM_SET_CPUID2, &cpuid);
	ioctl(it->vcpu, KVM_GET_LAPIC, &lapic);
	ioctl(it->vcpu, KVM_SET_LAPIC, &lapic);
	ioctl(it->vcpu, KVM_GET_SREGS, &sregs);
	sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = flat;
	flat.selector = 8, flat.type = 11;
	sregs.cs = flat;
	sregs.cr0 = 0x11;
	ioctl(it->vcpu, KVM_SET_SREGS, &sregs);
	ioctl(it->vcpu, KVM_SET_REGS, &start);
}

static void run(struct vm *it)
{
	ioctl(it->vcpu, KVM_RUN, 0);
	must(it->run->exit_reason == KVM_EXIT_IO);
}

/* Lets KVM finish the access that the guest stopped at. */
static void finish(struct vm *it)
{
	it->run->immediate_exit = 1;
	sys3(IOCTL, it->vcpu, KVM_RUN, 0);
	it->run->immediate_exit = 0;
}

static void fork_from_snapshot(struct vm *it, int flags)
{
	build(it, map(MEMORY, PRIVATE | NORESERVE, snapshot), flags);
	/* It has to say that there is a 64-bit mode. */
	ioctl(it->vcpu, KVM_SET_CPUID2, &cpuid);
	ioctl(it->vcpu, KVM_SET_SREGS, &sregs);
	ioctl(it->vcpu, KVM_SET_REGS, &regs);
	run(it);
}

static void end(struct vm *it)
{
	sys3(MUNMAP, it->run, run_bytes, 0);
	sys3(CLOSE, it->vcpu, 0, 0);
	sys3(CLOSE, it->vm, 0, 0);
	sys3(MUNMAP, it->memory, MEMORY, 0);
}

/* 64-bit mode, at the code, with the first GiB of memory where kernels have it. As vmm/src/tiny.rs. */
static void enter_kernel(struct vm *it)
{
	struct kvm_regs start = { .rip = KERNEL + CODE, .rflags = 2 };
	u64 *table = (u64 *)(it->memory + TABLES);

	table[511] = TABLES + PAGE + 0x23;
	table[512 + 510] = TABLES + 2 * PAGE + 0x23;
	for (u64 n = 0; n < 512; n++)
		table[2 * 512 + n] = (n << 21) + 0xe3;
	ioctl(it->vcpu, KVM_GET_SREGS, &sregs);
	sregs.cr0 |= 0x80010000;
	sregs.cr3 = TABLES;
	sregs.cr4 = 0x20;
	sregs.efer = 0x500;
	sregs.cs.l = 1, sregs.cs.db = 0;
	ioctl(it->vcpu, KVM_SET_SREGS, &sregs);
	ioctl(it->vcpu, KVM_SET_REGS, &start);
}

/* The guest with this many pages to write, and its snapshot at A. */
static void boot(u32 pages)
{
	static const u8 code[] = {
		0xb8, 2, 0, 0, 0,                        /* mov eax, 2          */
		0xe7, 0xf8,                              /* A: out 0xf8, eax    */
		0xe7, 0xf8,                              /* B: out 0xf8, eax    */
		0x48, 0xbf, 0, 0, 0x20, 0x80,            /* mov rdi, KERNEL + 0x200000 */
		0xff, 0xff, 0xff, 0xff,
		0xb9, 0, 0, 0, 0,                        /* mov ecx, pages      */
		0x89, 0x3f,                              /* page: mov [rdi],edi */
		0x48, 0x81, 0xc7, 0, 0x10, 0, 0,         /* add rdi, 0x1000     */
		0xff, 0xc9, 0x75, 0xf3,                  /* dec ecx; jnz page   */
		0xe7, 0xf8,                              /* C: out 0xf8, eax    */
		0xeb, 0xdc,                              /* jmp A               */
	};
	struct vm it;

	snapshot = sys3(MEMFD_CREATE, "floor", 1, 0);
	must(snapshot >= 0 && sys3(FTRUNCATE, snapshot, MEMORY, 0) == 0);
	base = map(MEMORY, SHARED, snapshot);
	copy(base + CODE, code, sizeof(code));
	copy(base + CODE + 20, &pages, sizeof(pages));
	build(&it, base, 0);
	power_on(&it);
	enter_kernel(&it);
	run(&it);
	finish(&it);
	ioctl(it.vcpu, KVM_GET_REGS, &regs);
	ioctl(it.vcpu, KVM_GET_SREGS, &sregs);
	sys3(MUNMAP, it.run, run_bytes, 0);
	sys3(CLOSE, it.vcpu, 0, 0);
	sys3(CLOSE, it.vm, 0, 0);
}

static u64 exits(u32 count)
{
	static struct vm it;
	static const u8 code[] = { 0xb8, 2, 0, 0, 0, 0xe7, 0xf8, 0xeb, 0xfc }; /* mov eax, 2; again: out 0xf8, eax; jmp again */
	u64 begin;

	if (!it.run) {
		build(&it, map(MEMORY, PRIVATE | ANONYMOUS | NORESERVE, -1), 0);
		copy(it.memory + CODE, code, sizeof(code));
		power_on(&it);
		run(&it);
	}
	begin = ticks();
	for (u32 n = 0; n < count; n++)
		run(&it);
	return (ticks() - begin) / count;
}

static u8 extended[4096];
static struct kvm_debugregs debug;
static struct {
	struct kvm_msrs head;
	struct kvm_msr_entry each[45];
} msrs;

/* Those of vmm/src/kvm/state.rs that the host knows. */
static void find_msrs(int vcpu)
{
	static const u32 wanted[45] = {
		0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000102, 0x174, 0x175, 0x176, 0x277, 0x1a0, 0x1d9, 0x17a,
		0x2ff, 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f, 0x200, 0x201, 0x202, 0x203,
		0x204, 0x205, 0x206, 0x207, 0x208, 0x209, 0x20a, 0x20b, 0x20c, 0x20d, 0x20e, 0x20f, 0x4b564d00, 0x4b564d01,
		0x4b564d02, 0x4b564d03, 0x4b564d04,
	};
	static struct {
		struct kvm_msrs head;
		struct kvm_msr_entry it;
	} one = { .head = { .nmsrs = 1 } };

	msrs.head.nmsrs = 0;
	for (u32 n = 0; n < 45; n++) {
		one.it.index = wanted[n];
		if (sys3(IOCTL, vcpu, KVM_GET_MSRS, &one) == 1)
			msrs.each[msrs.head.nmsrs++].index = wanted[n];
	}
}

/* `few` calls, as vmm/src/kvm/state.rs makes: registers travel in the area that is shared with KVM, and the output that
 * the guest stopped at is not finished, since it goes on elsewhere. Else as KVM's documentation asks. */
static u64 reset(u32 pages, int few, int looks)
{
	static struct vm it;
	static u32 now;
	struct kvm_dirty_log dirty = { .slot = 0, .dirty_bitmap = log };
	u64 begin;

	if (now != pages) {
		if (now)
			end(&it);
		boot(now = pages);
		fork_from_snapshot(&it, KVM_MEM_LOG_DIRTY_PAGES);
		ioctl(it.vm, KVM_GET_DIRTY_LOG, &dirty);
		find_msrs(it.vcpu);
	}
	it.run->kvm_valid_regs = few ? KVM_SYNC_X86_REGS : 0;
	run(&it);
	begin = ticks();
	if (!few)
		finish(&it);
	ioctl(it.vm, KVM_GET_DIRTY_LOG, &dirty);
	for (u64 word = 0; word < MEMORY / PAGE / 64; word++)
		for (u64 bits = log[word]; bits; bits &= bits - 1) {
			u64 at = (word * 64 + __builtin_ctzl(bits)) * PAGE;
			copy_page(it.memory + at, base + at);
		}
	if (looks) {
		ioctl(it.vcpu, KVM_GET_XSAVE, extended);
		ioctl(it.vcpu, KVM_GET_DEBUGREGS, &debug);
		ioctl(it.vcpu, KVM_GET_LAPIC, &lapic);
		ioctl(it.vcpu, KVM_GET_MSRS, &msrs);
	}
	if (few) {
		copy(&it.run->s.regs.regs, &regs, sizeof(regs));
		copy(&it.run->s.regs.sregs, &sregs, sizeof(sregs));
		it.run->kvm_dirty_regs = KVM_SYNC_X86_VALID_FIELDS;
	} else {
		ioctl(it.vcpu, KVM_SET_SREGS, &sregs);
		ioctl(it.vcpu, KVM_SET_REGS, &regs);
	}
	run(&it);
	return ticks() - begin;
}

static u64 fork_or_end(int forks)
{
	struct vm it;
	u64 begin, middle, done;

	if (!base)
		boot(16);
	begin = ticks();
	fork_from_snapshot(&it, 0);
	middle = ticks();
	end(&it);
	done = ticks();
	return forks ? middle - begin : done - middle;
}

static void start(void)
{
	static const u8 code[] = { 0x66, 0xba, 0xf8, 0x03, 0xb0, 'A', 0xee, 0xf4 }; /* mov dx, 0x3f8; mov al, 'A'; out dx, al; hlt */
	struct vm it;

	build(&it, map(MEMORY, PRIVATE | ANONYMOUS | NORESERVE, -1), 0);
	copy(it.memory + CODE, code, sizeof(code));
	power_on(&it);
	run(&it);
	sys3(WRITE, 1, (u8 *)it.run + it.run->io.data_offset, 1);
	sys3(EXIT_GROUP, 0, 0, 0);
}

static u64 now(void)
{
	long time[2];

	sys3(CLOCK_GETTIME, 1, time, 0);
	return time[0] * 1000000000UL + time[1];
}

/* Nanoseconds in 2^20 ticks. */
static u64 calibrate(void)
{
	u64 time = now(), tick = ticks();

	while (now() - time < 20000000)
		;
	return ((now() - time) << 20) / (ticks() - tick);
}

__attribute__((used)) void c_main(long *stack)
{
	struct vm more;
	u64 scale;

	kvm = sys3(OPEN, "/dev/kvm", RDWR_CLOEXEC, 0);
	must(kvm >= 0);
	run_bytes = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (stack[0] > 1)
		start();
	scale = calibrate();
	for (;;) {
		u8 command[5];
		u32 number;
		u64 spent = 0;

		if (sys3(READ, 0, command, 5) != 5)
			break;
		copy(&number, command + 1, 4);
		switch (command[0]) {
		case 'e': spent = exits(number); break;
		case 'r': spent = reset(number, 0, 0); break;
		case 's': spent = reset(number, 1, 1); break;
		case 'b': spent = reset(number, 1, 0); break;
		case 'f': spent = fork_or_end(1); break;
		case 't': spent = fork_or_end(0); break;
		case 'v':
			if (!base)
				boot(16);
			while (number--)
				fork_from_snapshot(&more, 0);
			break;
		default: must(0);
		}
		spent = spent * scale >> 20;
		must(sys3(WRITE, 1, &spent, 8) == 8);
	}
	sys3(EXIT_GROUP, 0, 0, 0);
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\nand $-16, %rsp\ncall c_main\n");

/* The compiler calls these by itself. */
void *memcpy(void *to, const void *from, u64 bytes) { copy(to, from, bytes); return to; }
void *memset(void *to, int value, u64 bytes)
{
	void *at = to;
	__asm__ volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(value) : "memory");
	return to;
}
