// A Fibonacci number by recursion. gcc must leave it so.
#include "guest.h"

uint32_t number = 7;

static __attribute__((noinline, optimize("no-optimize-sibling-calls"))) uint64_t
fibonacci(uint32_t n)
{
	if (n < 2)
		return n;
	return fibonacci(n - 1) + fibonacci(n - 2);
}

uint64_t run(void)
{
	return fibonacci(*(volatile uint32_t *)&number);
}
