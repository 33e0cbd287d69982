// Command verify-webhook is the webhook of a team: it takes the events that Kemi delivers, if they are signed, and writes each
// as a line of JSON. It imports nothing of Kemi: copy it.
//
//	KEMI_SECRET=whsec_… go run . -listen 127.0.0.1:9090
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// verify reports whether Kemi signed the body lately. Source: Standard Webhooks specification.
func verify(secret string, h http.Header, body []byte, now time.Time) bool {
	seconds, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	key, wrong := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || wrong != nil || now.Sub(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", h.Get("webhook-id"), seconds, body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, one := range strings.Fields(h.Get("webhook-signature")) { // Several while the secret is changed.
		if hmac.Equal([]byte(one), []byte(want)) {
			return true
		}
	}
	return false
}

// take answers 200 when the event is written, so that what is not comes again.
func take(secret string, out io.Writer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 2<<20))
		if err != nil {
			http.Error(w, "the event is not whole", http.StatusServiceUnavailable) // It comes again.
			return
		}
		if !verify(secret, r.Header, body, time.Now()) {
			http.Error(w, "not signed", http.StatusUnauthorized)
			return
		}
		if _, err := fmt.Fprintf(out, "%s\n", bytes.TrimSpace(body)); err != nil {
			http.Error(w, "no room", http.StatusServiceUnavailable)
		}
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9090", "address to listen on")
	flag.Parse()
	secret := os.Getenv("KEMI_SECRET")
	if secret == "" {
		log.Fatal("set KEMI_SECRET to the subscription's secret")
	}
	srv := &http.Server{Addr: *listen, Handler: take(secret, os.Stdout), ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(srv.ListenAndServe())
}
