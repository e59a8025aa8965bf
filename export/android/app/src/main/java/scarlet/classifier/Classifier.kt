package scarlet.classifier

import android.content.Context
import android.graphics.Bitmap
import android.graphics.ImageDecoder
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import java.nio.ByteBuffer

/** One class with its probability. */
data class Answer(val label: String, val probability: Float)

/** The classes of an image, most likely first, with the milliseconds that preparing and running took. */
class Answers(val classes: List<Answer>, val prepareMs: Double, val runMs: Double)

/** An exported network from the app's assets. Not safe for several threads at once. */
class Classifier(context: Context, assetName: String = "model.tflite") : AutoCloseable {
    private val file = ModelFile(ByteBuffer.wrap(context.assets.open(assetName).use { it.readBytes() }))
    private val metadata =
        Metadata(requireNotNull(file.metadata(Metadata.NAME)) { "$assetName: expected metadata named ${Metadata.NAME}" })
    private val model = CompiledModel.create(context.assets, assetName, CompiledModel.Options(Accelerator.CPU))
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()

    /** Decodes, turns and classifies a JPEG or PNG image. */
    fun classify(source: ImageDecoder.Source): Answers {
        val begin = System.nanoTime()
        val values = metadata.preprocessing.prepare(decode(source))
        val prepared = System.nanoTime()
        val scores = run(values)
        val end = System.nanoTime()
        val probabilities = metadata.probabilities(scores)
        val classes = probabilities.indices.sortedByDescending { probabilities[it] }
            .map { Answer(metadata.labels[it], probabilities[it]) }
        return Answers(classes, (prepared - begin) / 1e6, (end - prepared) / 1e6)
    }

    override fun close() {
        (inputs + outputs).forEach { it.close() }
        model.close()
    }

    private fun run(values: FloatArray): FloatArray {
        file.input?.let { inputs[0].writeInt8(it.quantize(values)) } ?: inputs[0].writeFloat(values)
        model.run(inputs, outputs)
        return file.output?.dequantize(outputs[0].readInt8()) ?: outputs[0].readFloat()
    }

    /** ImageDecoder turns photographs as their EXIF orientation says. Alpha is kept apart, so that dropping it drops it. */
    private fun decode(source: ImageDecoder.Source): Pixels {
        val decoded = ImageDecoder.decodeBitmap(source) { decoder, _, _ ->
            decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
            decoder.isUnpremultipliedRequired = true
        }
        val bitmap = if (decoded.config == Bitmap.Config.ARGB_8888) decoded else decoded.copy(Bitmap.Config.ARGB_8888, false)
        // Bytes R, G, B, A as they were decoded; Bitmap.getPixels would apply the colour profile.
        val bytes = ByteBuffer.allocate(bitmap.byteCount).also { bitmap.copyPixelsToBuffer(it) }.array()
        val values = IntArray(bitmap.width * bitmap.height) {
            val at = it / bitmap.width * bitmap.rowBytes + it % bitmap.width * BYTES_PER_PIXEL
            (bytes[at].toInt() and 0xff shl 16) or (bytes[at + 1].toInt() and 0xff shl 8) or (bytes[at + 2].toInt() and 0xff)
        }
        return Pixels(bitmap.width, bitmap.height, values)
    }

    private companion object {
        const val BYTES_PER_PIXEL = 4
    }
}
