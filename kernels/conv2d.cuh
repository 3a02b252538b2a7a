// What all sources of `conv2d` share: its parameters, which pixel of x a place of a window is, and what happens to a
// sum.
#pragma once
#include "common.cuh"

struct Params {
    u32 rows, columns, channels, height, width, size, up, add;
    f32 least;
};

/// A pixel of `out`: which one of its image, and where the image begins in x, in pixels.
struct Pixel {
    u32 y, x, image;

    DEVICE_MEMBER Pixel() : y(0), x(0), image(0) {}
    DEVICE_MEMBER Pixel(const Params &p, u32 row) {
        const u32 line = row / p.width, number = line / p.height;
        x = row - line * p.width;
        y = line - number * p.height;
        image = number * (p.height / p.up) * (p.width / p.up);
    }

    /// The pixel of x that it sees `down` lines and `right` columns from its window's corner; nothing outside of the image.
    DEVICE_MEMBER bool sees(const Params &p, u32 down, u32 right, u32 &pixel) const {
        // Above and left of the image these are large numbers.
        const u32 line = y + down - p.size / 2, column = x + right - p.size / 2;
        const u32 shift = p.up / 2; // up is 1 or 2
        pixel = image + (line >> shift) * (p.width >> shift) + (column >> shift);
        return line < p.height && column < p.width;
    }
};

/// Four neighbours of a pixel's sums, which may end before the last of them. VECTOR: all rows are multiples of four.
template <bool VECTOR>
DEVICE void finish4(const Params &p, T *out, const f32 *bias, const T *add, u32 row, u32 column, float (&y)[4]) {
    const u64 start = static_cast<u64>(row) * p.columns;
    float other[4];
    load<VECTOR>(bias, column, p.columns, other);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        y[i] += other[i];
    }
    if (p.add) {
        load<VECTOR>(add + start, column, p.columns, other);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            y[i] += other[i];
        }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        y[i] = fmaxf(y[i], p.least);
    }
    store<VECTOR>(out + start, column, p.columns, y);
}
