// What start.S calls: the value it returns is kept at the symbol `result`.
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t run(void);
