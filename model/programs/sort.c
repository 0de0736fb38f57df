// Insertion sort, in place, of signed numbers.
#include "guest.h"

#define COUNT 10

int32_t array[COUNT] = {
	170, -45, 24, -90, 2147483647, 24, 0, -2147483647 - 1, 7, -1,
};

// Returns the sum of index times element.
uint64_t run(void)
{
	int64_t sum = 0;

	for (size_t i = 1; i < COUNT; i++) {
		int32_t value = array[i];
		size_t j = i;

		for (; j > 0 && array[j - 1] > value; j--)
			array[j] = array[j - 1];
		array[j] = value;
	}
	for (size_t i = 0; i < COUNT; i++)
		sum += (int64_t)i * array[i];
	return (uint64_t)sum;
}
