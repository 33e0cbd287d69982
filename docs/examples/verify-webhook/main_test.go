package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The vector of the Standard Webhooks specification.
const (
	secret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	id        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	stamp     = 1614265330
	payload   = `{"test": 2432232314}`
	signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

var cases = []struct {
	name, secret, body, signature string
	age                           int64
	want                          bool
}{
	{"the vector", secret, payload, signature, 0, true},
	{"one of two signatures", secret, payload, "v1,AAAA " + signature, 299, true},
	{"another body", secret, payload + " ", signature, 0, false},
	{"another secret", "whsec_" + strings.Repeat("A", 32), payload, signature, 0, false},
	{"an old one", secret, payload, signature, 301, false},
	{"one of the future", secret, payload, signature, -301, false},
	{"no signature", secret, payload, "", 0, false},
	{"another version", secret, payload, "v2" + signature[2:], 0, false},
}

func headers(signature string) http.Header {
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", strconv.Itoa(stamp))
	h.Set("webhook-signature", signature)
	return h
}

func TestTheExampleInGoTrustsWhatIsSignedAndNothingElse(t *testing.T) {
	for _, c := range cases {
		if got := verify(c.secret, headers(c.signature), []byte(c.body), time.Unix(stamp+c.age, 0)); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(payload))
	r.Header = headers(signature) // Years old.
	w := httptest.NewRecorder()
	take(secret, w)(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("answered %d", w.Code)
	}
}

func TestTheExampleInPythonDoesToo(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 here")
	}
	var script strings.Builder
	script.WriteString("from verify import verify\n")
	for _, c := range cases {
		fmt.Fprintf(&script, "h = {'webhook-id': %q, 'webhook-timestamp': '%d', 'webhook-signature': %q}\n", id, stamp, c.signature)
		fmt.Fprintf(&script, "print(verify(%q, h, %s.encode(), %d))\n", c.secret, strconv.Quote(c.body), stamp+c.age)
	}
	cmd := exec.Command(python, "-B", "-c", script.String())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	said := strings.Fields(string(out))
	for i, c := range cases {
		if want := map[bool]string{true: "True", false: "False"}[c.want]; i >= len(said) || said[i] != want {
			t.Errorf("%s: %v", c.name, said)
		}
	}
}
