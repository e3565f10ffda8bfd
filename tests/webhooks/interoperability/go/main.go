// Verifies messages with the public library (v1) and with Go's own Ed25519 (v1a). On each line of standard input, between tabs:
// secret, public key, id, timestamp, signature, base64 of the body. The answer to each: whether v1 holds, and whether v1a does.
package main

import (
	"bufio"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const lineBytesMax = 1 << 20

func holdsBySecret(secret, id, timestamp, signature string, body []byte) bool {
	webhook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return false
	}
	headers := http.Header{}
	headers.Set(standardwebhooks.HeaderWebhookID, id)
	headers.Set(standardwebhooks.HeaderWebhookTimestamp, timestamp)
	headers.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return webhook.Verify(body, headers) == nil
}

func holdsByPublicKey(publicKey, id, timestamp, signature string, body []byte) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(publicKey, "whpk_"))
	if err != nil || len(key) != ed25519.PublicKeySize {
		return false
	}
	content := append([]byte(id+"."+timestamp+"."), body...)
	for _, part := range strings.Fields(signature) {
		encoded, found := strings.CutPrefix(part, "v1a,")
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if found && err == nil && ed25519.Verify(key, content, raw) {
			return true
		}
	}
	return false
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, lineBytesMax)
	for lines.Scan() {
		one := strings.Split(lines.Text(), "\t")
		body, err := base64.StdEncoding.DecodeString(one[5])
		if err != nil {
			panic(err)
		}
		fmt.Println(holdsBySecret(one[0], one[2], one[3], one[4], body), holdsByPublicKey(one[1], one[2], one[3], one[4], body))
	}
}
