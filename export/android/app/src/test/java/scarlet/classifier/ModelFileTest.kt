package scarlet.classifier

import java.io.File
import java.nio.ByteBuffer
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeNotNull
import org.junit.Test

/**
 * An exported file, named by the system property "model", against the JSON file beside it. The optional property "input" states
 * the input's "scale zeroPoint", where it is int8.
 */
class ModelFileTest {
    private val path: String? = System.getProperty("model")

    @Test
    fun metadataInsideAreThoseBeside() {
        assumeNotNull(path)
        val file = open(path!!)
        val beside = JSONObject(File(path.removeSuffix(".tflite") + ".json").readText())
        assertEquals(beside.toString(), JSONObject(file.metadata(Metadata.NAME)!!).toString())
        assertEquals(beside.getJSONObject("output").getJSONArray("shape").getInt(1), Metadata(beside.toString()).labels.size)
        assertNull(file.metadata("another"))
    }

    @Test
    fun quantisationOfTheInputIsRead() {
        assumeNotNull(path)
        val expected = System.getProperty("input")?.split(" ")?.let { Quantization(it[0].toFloat(), it[1].toInt()) }
        assertEquals(expected, open(path!!).input)
        assertEquals(expected == null, open(path).output == null)
    }

    @Test
    fun otherFilesAreRefused() {
        val error = assertThrows(IllegalArgumentException::class.java) { ModelFile(ByteBuffer.wrap(ByteArray(100))) }
        assertTrue(error.message!!.contains("expected a .tflite file"))
    }

    private fun open(path: String) = ModelFile(ByteBuffer.wrap(File(path).readBytes()))
}
