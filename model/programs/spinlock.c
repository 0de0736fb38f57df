// A counter under a spin lock, with exclusives: what single-stepping cannot get through.
#include "guest.h"

#define ROUNDS 20

uint32_t lock;
uint64_t counter;

static void acquire(uint32_t *word)
{
	uint32_t seen, status;

	__asm__ volatile(
		"1:	ldaxr	%w0, [%2]\n"
		"	cbnz	%w0, 1b\n"
		"	stxr	%w1, %w3, [%2]\n"
		"	cbnz	%w1, 1b\n"
		: "=&r"(seen), "=&r"(status)
		: "r"(word), "r"(1)
		: "memory");
}

static void release(uint32_t *word)
{
	__asm__ volatile("stlr	wzr, [%0]" : : "r"(word) : "memory");
}

// Returns the counter, once for each time that the lock was held.
uint64_t run(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		acquire(&lock);
		counter++;
		release(&lock);
	}
	return counter;
}
