package scarlet.classifier

import java.io.File
import org.json.JSONArray
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Test

/** The contract's cases, and what can be worked out by hand. The system property "contract" names the file of cases. */
class ContractTest {
    @Test
    fun everyCaseGivesTheValuesOfTheEvaluationPath() {
        val cases = JSONArray(File(System.getProperty("contract")).readText())
        for (i in 0 until cases.length()) {
            val case = cases.getJSONObject(i)
            val colors = case.getJSONArray("pixels")
            val values = IntArray(colors.length() / 3) {
                (colors.getInt(3 * it) shl 16) or (colors.getInt(3 * it + 1) shl 8) or colors.getInt(3 * it + 2)
            }
            val pixels = Pixels(case.getInt("width"), case.getInt("height"), values)
            val prepared = Metadata.preprocessingOf(case.getJSONObject("preprocessing")).prepare(pixels)
            assertArrayEquals(case.getString("name"), Metadata.floats(case.getJSONArray("values")), prepared, 1e-5f)
        }
    }

    @Test
    fun theAlphaByteIsIgnored() {
        val how = Preprocessing(1, 1f, FloatArray(3), FloatArray(3) { 1f })
        assertArrayEquals(floatArrayOf(18f, 52f, 86f), how.prepare(Pixels(1, 1, intArrayOf(0x7f123456))), 0f)
    }

    @Test
    fun trianglesAreWidenedWhenAnImageShrinks() {
        assertArrayEquals(floatArrayOf(3f / 7, 3f / 7, 1f / 7), nonZero(FilterWeights(0, 4, 2, Filter.BILINEAR)), 1e-6f)
        assertArrayEquals(floatArrayOf(0.75f, 0.25f), nonZero(FilterWeights(1, 2, 4, Filter.BILINEAR)), 1e-6f)
        assertArrayEquals(floatArrayOf(1f), nonZero(FilterWeights(2, 3, 3, Filter.BILINEAR)), 0f)
    }

    @Test
    fun theCubicFilterHasKeysWeights() {
        val weights = FilterWeights(3, 4, 8, Filter.BICUBIC)
        assertArrayEquals(floatArrayOf(-9f / 128, 111f / 128, 29f / 128, -3f / 128), nonZero(weights), 1e-6f)
    }

    @Test
    fun halvesAreRoundedToEven() {
        assertEquals(Square(1, 1, 2), Preprocessing.centralSquare(5, 5, 0.5f))
        assertEquals(Square(2, 1, 4), Preprocessing.centralSquare(9, 7, 0.5f))
        assertEquals(Square(1, 0, 1), Preprocessing.centralSquare(3, 1, 0.875f))
    }

    @Test
    fun integersStandForTheNumbersTheyAreRoundedTo() {
        val quantization = Quantization(0.5f, 10)
        val values = quantization.quantize(floatArrayOf(0f, 1f, 0.25f, 0.75f, 1000f, -1000f))
        assertArrayEquals(byteArrayOf(10, 12, 10, 12, 127, -128), values)
        assertArrayEquals(floatArrayOf(0f, 1f), quantization.dequantize(byteArrayOf(10, 12)), 0f)
    }

    @Test
    fun softmaxSumsToOne() {
        assertArrayEquals(floatArrayOf(0.25f, 0.75f), Metadata.softmax(floatArrayOf(1000f, 1000f + 1.0986123f)), 1e-4f)
    }

    private fun nonZero(weights: FilterWeights) = weights.values.filter { it != 0f }.toFloatArray()
}
