// A copy by 16 bytes, then by single ones, and a checksum of what came out.
#include "guest.h"

#define SIZE 43

struct pair {
	uint64_t low, high;
};

uint8_t source[64] __attribute__((aligned(16)));
uint8_t target[64] __attribute__((aligned(16)));

static void copy(uint8_t *to, const uint8_t *from, size_t size)
{
	for (; size >= sizeof(struct pair); size -= sizeof(struct pair)) {
		*(struct pair *)to = *(const struct pair *)from;
		to += sizeof(struct pair);
		from += sizeof(struct pair);
	}
	while (size--)
		*to++ = *from++;
}

// Returns the Fletcher-like checksum of the copy: sum, and sum of sums.
uint64_t run(void)
{
	uint32_t sum = 0, sums = 0;

	for (size_t i = 0; i < SIZE; i++)
		source[i] = (uint8_t)(i * 7 + 3);
	copy(target, source, SIZE);
	for (size_t i = 0; i < SIZE; i++) {
		sum += target[i];
		sums += sum;
	}
	return (uint64_t)sums << 32 | sum;
}
