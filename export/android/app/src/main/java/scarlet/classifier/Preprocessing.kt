package scarlet.classifier

import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min

/** Upright 8-bit RGB pixels, 0xRRGGBB in each Int (the upper byte is ignored), row by row. */
class Pixels(val width: Int, val height: Int, val values: IntArray) {
    init {
        require(width > 0 && height > 0 && values.size == width * height) {
            "expected width * height pixels, got ${values.size} for $width x $height"
        }
    }
}

/** A square part of an image, in pixels. */
data class Square(val left: Int, val top: Int, val side: Int)

/**
 * From pixels to the network's input, as steps 3 to 5 of export/CONTRACT.md say; no Android class is used here.
 *
 * @param mean, std of red, green and blue, in units of 0..255.
 * @param filter by which images are resized.
 */
class Preprocessing(
    val imageSize: Int,
    private val cropFraction: Float,
    private val mean: FloatArray,
    std: FloatArray,
    private val filter: Filter = Filter.BILINEAR,
) {
    private val scale = FloatArray(COLORS) { 1 / std[it] }

    /** float32 [imageSize, imageSize, 3], rows first, colours last. */
    fun prepare(pixels: Pixels): FloatArray {
        val values = resize(pixels, centralSquare(pixels.width, pixels.height, cropFraction), imageSize, filter)
        for (i in values.indices) values[i] = (values[i] - mean[i % COLORS]) * scale[i % COLORS]
        return values
    }

    companion object {
        const val COLORS = 3

        /** Its side is rounded half to even. */
        fun centralSquare(width: Int, height: Int, cropFraction: Float): Square {
            val side = max(1, Math.rint((cropFraction * min(width, height)).toDouble()).toInt())
            return Square((width - side) / 2, (height - side) / 2, side)
        }

        /** float32 [size, size, 3] in 0..255: rows first, then columns. */
        fun resize(pixels: Pixels, square: Square, size: Int, filter: Filter): FloatArray {
            val weights = Array(size) { FilterWeights(it, square.side, size, filter) }
            val rows = FloatArray(size * square.side * COLORS)
            for (y in 0 until size) addRows(pixels, square, weights[y], rows, y * square.side * COLORS)
            val resized = FloatArray(size * size * COLORS)
            for (y in 0 until size) {
                for (x in 0 until size) addColumns(rows, y * square.side, weights[x], resized, (y * size + x) * COLORS)
            }
            // A cubic filter overshoots beside edges.
            for (i in resized.indices) resized[i] = resized[i].coerceIn(0f, 255f)
            return resized
        }

        private fun addRows(pixels: Pixels, square: Square, weights: FilterWeights, into: FloatArray, offset: Int) {
            weights.forEach { row, weight ->
                val start = (square.top + row) * pixels.width + square.left
                for (x in 0 until square.side) {
                    val rgb = pixels.values[start + x]
                    into[offset + x * COLORS] += weight * (rgb shr 16 and 0xff)
                    into[offset + x * COLORS + 1] += weight * (rgb shr 8 and 0xff)
                    into[offset + x * COLORS + 2] += weight * (rgb and 0xff)
                }
            }
        }

        private fun addColumns(rows: FloatArray, start: Int, weights: FilterWeights, into: FloatArray, offset: Int) {
            weights.forEach { column, weight ->
                for (color in 0 until COLORS) into[offset + color] += weight * rows[(start + column) * COLORS + color]
            }
        }
    }
}

/**
 * A filter of the metadata's `resize`, of unit width.
 *
 * @param reach how far from its centre it gives anything.
 * @param height at a distance from its centre.
 */
enum class Filter(val label: String, val reach: Float, val height: (Float) -> Float) {
    BILINEAR("bilinear, antialiased", 1f, { x -> max(0f, 1 - x) }),
    BICUBIC(
        "bicubic, antialiased",
        2f,
        { x ->
            when {
                x < 1 -> ((1.5f * x - 2.5f) * x) * x + 1
                x < 2 -> ((-0.5f * x + 2.5f) * x - 4) * x + 2
                else -> 0f
            }
        },
    ),
}

/** What the pixels of `source` give to pixel `target` of `size`; only those that may give anything. They sum to 1. */
class FilterWeights(target: Int, source: Int, size: Int, filter: Filter) {
    val first: Int
    val values: FloatArray

    init {
        val shrink = 1f / (size.toFloat() / source)
        val width = max(shrink, 1f)
        val radius = filter.reach * width
        val centre = (target + 0.5f) * shrink
        first = max(0, (centre - radius - 0.5f).toInt())
        val last = min(source - 1, (centre + radius + 0.5f).toInt())
        values = FloatArray(last - first + 1) { filter.height(abs(first + it + 0.5f - centre) / width) }
        val factor = 1 / values.sum()
        for (i in values.indices) values[i] *= factor
    }

    inline fun forEach(action: (source: Int, weight: Float) -> Unit) {
        for (i in values.indices) action(first + i, values[i])
    }
}
