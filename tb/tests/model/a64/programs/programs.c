/* Freestanding C that makes a compiler use what the integer instructions offer. */

typedef signed char s8;
typedef unsigned char u8;
typedef short s16;
typedef unsigned short u16;
typedef int s32;
typedef unsigned int u32;
typedef long s64;
typedef unsigned long u64;

u32 crc32(const u8 *data, u64 size)
{
	u32 crc = ~0u;

	for (u64 i = 0; i < size; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
	}
	return ~crc;
}

static void sift(s64 *values, u64 root, u64 count)
{
	for (u64 child; (child = 2 * root + 1) < count; root = child) {
		if (child + 1 < count && values[child] < values[child + 1])
			child++;
		if (values[root] >= values[child])
			return;
		s64 kept = values[root];
		values[root] = values[child];
		values[child] = kept;
	}
}

void heap_sort(s64 *values, u64 count)
{
	for (u64 root = count / 2; root-- > 0;)
		sift(values, root, count);
	for (u64 end = count; end-- > 1;) {
		s64 largest = values[0];
		values[0] = values[end];
		values[end] = largest;
		sift(values, 0, end);
	}
}

u64 fibonacci(u64 n)
{
	return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

struct mixed {
	s8 b;
	u16 h;
	s32 w;
	u64 x;
};

/* Signed and unsigned arithmetic of every width over an array of structures. */
u64 mix(const struct mixed *items, u64 count)
{
	u64 sum = 0;

	for (u64 i = 0; i < count; i++) {
		const struct mixed *item = &items[i];
		s64 quotient = item->w ? (s64)item->x / item->w : -1;

		sum = (sum >> 7 | sum << 57) + quotient;
		sum ^= (u64)((unsigned __int128)sum * item->x >> 64);
		sum += (s64)item->b * item->h - (s64)item->w * item->w;
		sum += __builtin_clzl(item->x | 1) + __builtin_bswap32(item->w);
		sum -= item->x % 1000003 & ~(u64)item->h;
	}
	return sum;
}

u32 count_up(u32 *counter, u32 by)
{
	return __atomic_fetch_add(counter, by, __ATOMIC_SEQ_CST);
}

u64 claim(u64 *lock, u64 owner)
{
	u64 nobody = 0;

	__atomic_compare_exchange_n(lock, &nobody, owner, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
	return nobody;
}

void release(u64 *lock)
{
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

s64 dispatch(u32 what, s64 a, s64 b)
{
	switch (what) {
	case 0: return a + b;
	case 1: return a - b;
	case 2: return a * b;
	case 3: return a << (b & 63);
	case 4: return a >> (b & 63);
	case 5: return a < b ? a : b;
	case 6: return __builtin_bswap64(a) ^ b;
	case 7: return (s16)a + (u8)b;
	default: return -1;
	}
}
