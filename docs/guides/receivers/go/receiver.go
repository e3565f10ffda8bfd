// Receives webhooks of Waybill. Needs Go 1.22 and no modules.
package main

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	tolerance    = 5 * time.Minute
	bodyBytesMax = 1 << 20
)

var (
	secrets   = strings.Split(os.Getenv("WEBHOOK_SECRET"), ",") // whsec_…, during a rotation two
	publicKey = os.Getenv("WEBHOOK_PUBLIC_KEY")                 // whpk_…, if the endpoint has a key pair
	seen      sync.Map                                          // in a real receiver: a unique column of your database
)

// isGenuine tells whether Waybill has sent this body, and just now.
func isGenuine(headers http.Header, body []byte) bool {
	id, timestamp := headers.Get("webhook-id"), headers.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || id == "" || time.Since(time.Unix(seconds, 0)).Abs() > tolerance {
		return false
	}
	content := append([]byte(id+"."+timestamp+"."), body...)
	for _, one := range strings.Fields(headers.Get("webhook-signature")) {
		version, encoded, _ := strings.Cut(one, ",")
		signature, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			continue
		}
		if version == "v1" && hasSecret(content, signature) || version == "v1a" && hasKey(content, signature) {
			return true
		}
	}
	return false
}

func hasSecret(content, signature []byte) bool {
	for _, secret := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil || len(key) == 0 {
			continue
		}
		mac := hmac.New(sha256.New, key)
		mac.Write(content)
		if hmac.Equal(mac.Sum(nil), signature) {
			return true
		}
	}
	return false
}

func hasKey(content, signature []byte) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(publicKey, "whpk_"))
	return err == nil && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, content, signature)
}

func receive(response http.ResponseWriter, request *http.Request) {
	// The bytes as they came: not parsed, not decoded.
	body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, bodyBytesMax))
	if err != nil {
		response.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	if !isGenuine(request.Header, body) {
		response.WriteHeader(http.StatusUnauthorized)
		return
	}
	id := request.Header.Get("webhook-id")
	if _, again := seen.LoadOrStore(id, true); !again {
		var event struct{ Type string }
		if err := json.Unmarshal(body, &event); err != nil {
			response.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Println(id, event.Type) // put it into a queue of yours: answer first, work later
	}
	response.WriteHeader(http.StatusNoContent)
}

func main() {
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(receive)))
}
