// Where a word is in a text, the plain way.
#include "guest.h"

char text[] = "a stepwise way to a single-stepped guest";
char word[] = "stepped";

// Returns the index of the first letter, or all ones.
uint64_t run(void)
{
	for (size_t i = 0; text[i]; i++) {
		size_t j = 0;

		while (word[j] && text[i + j] == word[j])
			j++;
		if (!word[j])
			return i;
	}
	return ~(uint64_t)0;
}
