package scarlet.classifier

import kotlin.math.exp
import org.json.JSONArray
import org.json.JSONObject

/** The metadata that exported files carry under the name scarlet_tf; see export/CONTRACT.md. */
class Metadata(text: String) {
    private val json = JSONObject(text)
    val preprocessing: Preprocessing
    val labels: List<String>
    private val hasProbabilities: Boolean

    init {
        val version = json.getInt("metadata_version")
        require(version == VERSION) { "expected metadata of version $VERSION, got $version" }
        require(!json.isNull("preprocessing")) { "the metadata do not say how images are prepared" }
        preprocessing = preprocessingOf(json.getJSONObject("preprocessing"))
        val output = json.getJSONObject("output")
        hasProbabilities = output.getString("name") == "probabilities"
        labels = if (json.isNull("labels")) {
            List(output.getJSONArray("shape").getInt(1)) { it.toString() }
        } else {
            json.getJSONArray("labels").let { names -> List(names.length()) { names.getString(it) } }
        }
    }

    /** One for each class, from the network's outputs. */
    fun probabilities(outputs: FloatArray) = if (hasProbabilities) outputs else softmax(outputs)

    companion object {
        const val NAME = "scarlet_tf"
        private const val VERSION = 1

        fun preprocessingOf(json: JSONObject) = Preprocessing(
            json.getInt("image_size"),
            json.getDouble("crop_fraction").toFloat(),
            floats(json.getJSONArray("mean")),
            floats(json.getJSONArray("std")),
            filterOf(json.optString("resize", Filter.BILINEAR.label)),
        )

        private fun filterOf(label: String) =
            requireNotNull(Filter.entries.find { it.label == label }) { "images are to be resized by an unknown filter, $label" }

        fun floats(array: JSONArray) = FloatArray(array.length()) { array.getDouble(it).toFloat() }

        fun softmax(logits: FloatArray): FloatArray {
            val greatest = logits.max()
            val powers = FloatArray(logits.size) { exp(logits[it] - greatest) }
            val sum = powers.sum()
            return FloatArray(powers.size) { powers[it] / sum }
        }
    }
}
