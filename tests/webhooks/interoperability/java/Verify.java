// Verifies messages with the public library (v1) and with Java's own Ed25519 (v1a). On each line of standard input, between tabs:
// secret, public key, id, timestamp, signature, base64 of the body. The answer to each: whether v1 holds, and whether v1a does.
import com.standardwebhooks.Webhook;
import com.standardwebhooks.exceptions.WebhookVerificationException;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

public class Verify {
    // What stands before the 32 bytes of an Ed25519 key in its usual envelope (SubjectPublicKeyInfo).
    static final byte[] ENVELOPE = HexFormat.of().parseHex("302a300506032b6570032100");

    static boolean holdsBySecret(String secret, String id, String timestamp, String signature, byte[] body) {
        var headers = Map.of(
                "webhook-id", List.of(id),
                "webhook-timestamp", List.of(timestamp),
                "webhook-signature", List.of(signature));
        try {
            new Webhook(secret).verify(new String(body, StandardCharsets.UTF_8), headers);
            return true;
        } catch (WebhookVerificationException refusal) {
            return false;
        }
    }

    static boolean holdsByPublicKey(String publicKey, String id, String timestamp, String signature, byte[] body)
            throws Exception {
        var encoded = new ByteArrayOutputStream();
        encoded.write(ENVELOPE);
        encoded.write(Base64.getDecoder().decode(publicKey.substring("whpk_".length())));
        PublicKey key = KeyFactory.getInstance("Ed25519").generatePublic(new X509EncodedKeySpec(encoded.toByteArray()));
        for (String part : signature.split(" ")) {
            if (!part.startsWith("v1a,")) {
                continue;
            }
            var verifier = Signature.getInstance("Ed25519");
            verifier.initVerify(key);
            verifier.update((id + "." + timestamp + ".").getBytes(StandardCharsets.UTF_8));
            verifier.update(body);
            if (verifier.verify(Base64.getDecoder().decode(part.substring("v1a,".length())))) {
                return true;
            }
        }
        return false;
    }

    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] one = line.split("\t", -1);
            byte[] body = Base64.getDecoder().decode(one[5]);
            System.out.println(
                    holdsBySecret(one[0], one[2], one[3], one[4], body)
                            + " "
                            + holdsByPublicKey(one[1], one[2], one[3], one[4], body));
        }
    }
}
