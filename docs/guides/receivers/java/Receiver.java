// Receives webhooks of Waybill. Needs Java 17 and no libraries: java Receiver.java
import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.util.Base64;
import java.util.HexFormat;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Receiver {
    static final String SECRETS = Objects.requireNonNullElse(System.getenv("WEBHOOK_SECRET"), ""); // whsec_…, during a rotation two
    static final String PUBLIC_KEY = Objects.requireNonNullElse(System.getenv("WEBHOOK_PUBLIC_KEY"), ""); // whpk_…, if there is a key pair
    static final long TOLERANCE_SECONDS = 300;
    static final int BODY_BYTES_MAX = 1024 * 1024;
    // What stands before the 32 bytes of an Ed25519 key in its usual envelope (SubjectPublicKeyInfo).
    static final byte[] ENVELOPE = HexFormat.of().parseHex("302a300506032b6570032100");
    // With a JSON library: read the member `type` of the body.
    static final Pattern TYPE = Pattern.compile("\\{\"type\":\"([a-z_.]+)\"");

    static final Set<String> seen = ConcurrentHashMap.newKeySet(); // in a real receiver: a unique column of your database

    /** Whether Waybill has sent this body, and just now. */
    static boolean isGenuine(Headers headers, byte[] body) throws GeneralSecurityException {
        String id = headers.getFirst("webhook-id");
        String timestamp = headers.getFirst("webhook-timestamp");
        String signatures = headers.getFirst("webhook-signature");
        if (id == null || signatures == null || timestamp == null || !timestamp.matches("[0-9]{1,12}")) {
            return false;
        }
        if (Math.abs(System.currentTimeMillis() / 1000 - Long.parseLong(timestamp)) > TOLERANCE_SECONDS) {
            return false;
        }
        var content = new ByteArrayOutputStream();
        content.writeBytes((id + "." + timestamp + ".").getBytes(StandardCharsets.UTF_8));
        content.writeBytes(body);
        for (String one : signatures.split(" ")) {
            String[] parts = one.split(",", 2);
            byte[] signature = decoded(parts.length == 2 ? parts[1] : "");
            if (parts[0].equals("v1") && hasSecret(content.toByteArray(), signature)
                    || parts[0].equals("v1a") && hasKey(content.toByteArray(), signature)) {
                return true;
            }
        }
        return false;
    }

    static boolean hasSecret(byte[] content, byte[] signature) throws GeneralSecurityException {
        for (String secret : SECRETS.split(",")) {
            if (!secret.startsWith("whsec_")) {
                continue;
            }
            var mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(decoded(secret.substring("whsec_".length())), "HmacSHA256"));
            if (MessageDigest.isEqual(mac.doFinal(content), signature)) {
                return true;
            }
        }
        return false;
    }

    static boolean hasKey(byte[] content, byte[] signature) throws GeneralSecurityException {
        if (PUBLIC_KEY.isEmpty() || signature.length != 64) {
            return false;
        }
        var encoded = new ByteArrayOutputStream();
        encoded.writeBytes(ENVELOPE);
        encoded.writeBytes(decoded(PUBLIC_KEY.substring("whpk_".length())));
        var verifier = Signature.getInstance("Ed25519");
        verifier.initVerify(KeyFactory.getInstance("Ed25519").generatePublic(new X509EncodedKeySpec(encoded.toByteArray())));
        verifier.update(content);
        return verifier.verify(signature);
    }

    static byte[] decoded(String base64) {
        try {
            return Base64.getDecoder().decode(base64);
        } catch (IllegalArgumentException malformed) {
            return new byte[0];
        }
    }

    static void receive(HttpExchange exchange) throws IOException {
        try (exchange) {
            byte[] body = exchange.getRequestBody().readNBytes(BODY_BYTES_MAX + 1); // the bytes as they came: not parsed, not decoded
            if (body.length > BODY_BYTES_MAX) {
                exchange.sendResponseHeaders(413, -1);
            } else if (!isGenuine(exchange.getRequestHeaders(), body)) {
                exchange.sendResponseHeaders(401, -1);
            } else {
                String id = exchange.getRequestHeaders().getFirst("webhook-id");
                if (seen.add(id)) {
                    Matcher type = TYPE.matcher(new String(body, StandardCharsets.UTF_8));
                    System.out.println(id + " " + (type.lookingAt() ? type.group(1) : "?")); // put it into a queue of yours
                }
                exchange.sendResponseHeaders(204, -1);
            }
        } catch (GeneralSecurityException unavailable) {
            exchange.sendResponseHeaders(500, -1);
        }
    }

    public static void main(String[] arguments) throws IOException {
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT"))), 0);
        server.createContext("/", Receiver::receive);
        server.start();
    }
}
