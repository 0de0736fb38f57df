// CRC-32 of a message, by bits: the polynomial of IEEE 802.3, reflected.
#include "guest.h"

#define POLYNOMIAL 0xedb88320u

uint8_t message[] = "stepped";

uint64_t run(void)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < sizeof(message) - 1; i++) {
		crc ^= message[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (POLYNOMIAL & -(crc & 1));
	}
	return ~crc;
}
