package scarlet.classifier

import android.graphics.ImageDecoder
import android.net.Uri
import android.os.Bundle
import android.widget.Button
import android.widget.LinearLayout
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts
import java.util.Locale
import java.util.concurrent.Executors

/** Lets the user pick a photograph and shows its three most likely classes. */
class MainActivity : ComponentActivity() {
    // One thread: the classifier is not safe for several, and it is made where it is used.
    private val worker = Executors.newSingleThreadExecutor()
    private val classifier = lazy { Classifier(applicationContext) }
    private lateinit var result: TextView
    private val picker = registerForActivityResult(ActivityResultContracts.PickVisualMedia()) { it?.let(::classify) }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        result = TextView(this).apply { textSize = 18f }
        val button = Button(this).apply {
            setText(R.string.pick)
            setOnClickListener {
                picker.launch(PickVisualMediaRequest(ActivityResultContracts.PickVisualMedia.ImageOnly))
            }
        }
        val layout = LinearLayout(this).apply {
            orientation = LinearLayout.VERTICAL
            fitsSystemWindows = true
            addView(button)
            addView(result)
        }
        setContentView(layout)
    }

    override fun onDestroy() {
        worker.execute { if (classifier.isInitialized()) classifier.value.close() }
        worker.shutdown()
        super.onDestroy()
    }

    private fun classify(uri: Uri) {
        result.setText(R.string.working)
        worker.execute {
            val text = try {
                describe(classifier.value.classify(ImageDecoder.createSource(contentResolver, uri)))
            } catch (error: Exception) {  // a torn photograph or model: shown, not thrown
                getString(R.string.failed, error.message)
            }
            runOnUiThread { result.text = text }
        }
    }

    private fun describe(answers: Answers): String {
        val lines = answers.classes.take(SHOWN).map { String.format(Locale.ROOT, "%5.1f %%  %s", 100 * it.probability, it.label) }
        val time = String.format(Locale.ROOT, "prepared in %.1f ms, run in %.1f ms", answers.prepareMs, answers.runMs)
        return (lines + time).joinToString("\n")
    }

    private companion object {
        const val SHOWN = 3
    }
}
