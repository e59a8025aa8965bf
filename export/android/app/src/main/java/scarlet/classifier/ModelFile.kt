package scarlet.classifier

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** How the integers q of a tensor stand for numbers: (q - zeroPoint) * scale. */
data class Quantization(val scale: Float, val zeroPoint: Int) {
    /** int8, rounded half to even. */
    fun quantize(values: FloatArray) = ByteArray(values.size) {
        Math.rint((values[it] / scale + zeroPoint).toDouble()).toInt().coerceIn(-128, 127).toByte()
    }

    fun dequantize(values: ByteArray) = FloatArray(values.size) { (values[it] - zeroPoint) * scale }
}

/**
 * What a .tflite file says of itself: its embedded metadata, and the quantisation of its input and output (null: float32).
 *
 * A .tflite file is a flatbuffer. The numbers below are the positions of fields in TensorFlow Lite's public schema.
 */
class ModelFile(content: ByteBuffer) {
    private val data = content.duplicate().order(ByteOrder.LITTLE_ENDIAN)
    private val model: Int
    val input: Quantization?
    val output: Quantization?

    init {
        require(data.limit() > 8 && String(bytes(4, 4), Charsets.US_ASCII) == "TFL3") { "expected a .tflite file" }
        model = reference(0)
        val graph = element(field(model, MODEL_SUBGRAPHS), 0)
        input = quantization(graph, GRAPH_INPUTS)
        output = quantization(graph, GRAPH_OUTPUTS)
    }

    /** The text of the metadata entry called `name`; null without one. */
    fun metadata(name: String): String? {
        val entries = field(model, MODEL_METADATA)
        for (i in 0 until length(entries)) {
            val entry = element(entries, i)
            if (text(field(entry, METADATA_NAME)) == name) {
                val index = field(entry, METADATA_BUFFER).let { if (it == 0) 0 else data.getInt(it) }
                return text(field(element(field(model, MODEL_BUFFERS), index), BUFFER_DATA))
            }
        }
        return null
    }

    private fun quantization(graph: Int, ends: Int): Quantization? {
        val number = data.getInt(reference(field(graph, ends)) + 4)
        val tensor = element(field(graph, GRAPH_TENSORS), number)
        val type = field(tensor, TENSOR_TYPE).let { if (it == 0) FLOAT32 else data.get(it).toInt() }
        if (type == FLOAT32) return null
        require(type == INT8) { "expected float32 or int8 ends, got tensor type $type" }
        val quantization = reference(field(tensor, TENSOR_QUANTIZATION))
        val scale = data.getFloat(reference(field(quantization, QUANTIZATION_SCALE)) + 4)
        val zeroPoint = data.getLong(reference(field(quantization, QUANTIZATION_ZERO_POINT)) + 4)
        return Quantization(scale, zeroPoint.toInt())
    }

    /** Where a field of the table at `table` is; 0 where it has its default. */
    private fun field(table: Int, number: Int): Int {
        val offsets = table - data.getInt(table)
        val entry = 4 + 2 * number
        if (entry >= data.getShort(offsets)) return 0
        val offset = data.getShort(offsets + entry).toInt()
        return if (offset == 0) 0 else table + offset
    }

    /** Where the table, vector or string is that the four bytes at `position` refer to. */
    private fun reference(position: Int) = position + data.getInt(position)

    private fun length(field: Int) = if (field == 0) 0 else data.getInt(reference(field))

    private fun element(field: Int, index: Int): Int {
        require(index in 0 until length(field)) { "the .tflite file is torn" }
        return reference(reference(field) + 4 + 4 * index)
    }

    private fun text(field: Int) = String(bytes(reference(field) + 4, length(field)), Charsets.UTF_8)

    private fun bytes(position: Int, count: Int) = ByteArray(count).also { data.duplicate().apply { position(position) }.get(it) }

    private companion object {
        const val MODEL_SUBGRAPHS = 2
        const val MODEL_BUFFERS = 4
        const val MODEL_METADATA = 6
        const val GRAPH_TENSORS = 0
        const val GRAPH_INPUTS = 1
        const val GRAPH_OUTPUTS = 2
        const val TENSOR_TYPE = 1
        const val TENSOR_QUANTIZATION = 4
        const val QUANTIZATION_SCALE = 2
        const val QUANTIZATION_ZERO_POINT = 3
        const val METADATA_NAME = 0
        const val METADATA_BUFFER = 1
        const val BUFFER_DATA = 0
        const val FLOAT32 = 0
        const val INT8 = 9
    }
}
