// A linked list: made, turned round, and walked.
#include "guest.h"

#define COUNT 12

struct node {
	struct node *next;
	uint64_t value;
};

struct node nodes[COUNT];

static struct node *reversed(struct node *list)
{
	struct node *result = NULL;

	while (list) {
		struct node *next = list->next;

		list->next = result;
		result = list;
		list = next;
	}
	return result;
}

// Returns the values as the digits of a number to the base 31, modulo 2^64.
uint64_t run(void)
{
	struct node *list = NULL;
	uint64_t digits = 0;

	for (size_t i = 0; i < COUNT; i++) {
		nodes[i].value = i * i + 1;
		nodes[i].next = list;
		list = &nodes[i];
	}
	for (list = reversed(list); list; list = list->next)
		digits = digits * 31 + list->value;
	return digits;
}
