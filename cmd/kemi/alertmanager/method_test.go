package alertmanager_test

import (
	"net/http"
	"strings"
	"testing"

	"kemi.dev/kemi/cmd/kemi/alertmanager"
)

// What a client may not do, and a coding that is not read, are answered by their names.
func TestOtherMethodsAndCodingsAreNamed(t *testing.T) {
	h := serve(t, quiet)
	for _, c := range []struct {
		method, path, coding, allow, says string
		code                              int
	}{
		{"PUT", "/alerts", "", "GET, POST", "use GET or POST", http.StatusMethodNotAllowed},
		{"OPTIONS", "/alerts", "", "GET, POST", "OPTIONS /api/v2/alerts is not there", http.StatusMethodNotAllowed},
		{"POST", "/silence/x", "", "DELETE, GET", "use DELETE or GET", http.StatusMethodNotAllowed},
		{"GET", "/nothing", "", "", "nothing at GET", http.StatusNotFound},
		{"POST", "/alerts", "gzip", "", "written in gzip", http.StatusUnsupportedMediaType},
		{"POST", "/silences", "gzip", "", "written in gzip", http.StatusUnsupportedMediaType},
		{"POST", "/alerts", "identity", "", "", http.StatusOK},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, h.srv.URL+alertmanager.Prefix+c.path, strings.NewReader("[]"))
		if err != nil {
			t.Fatal(err)
		}
		if c.coding != "" {
			req.Header.Set("Content-Encoding", c.coding)
		}
		resp, err := h.srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := resp.Write(&text); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.code || resp.Header.Get("Allow") != c.allow || !strings.Contains(text.String(), c.says) {
			t.Errorf("%s %s %s: %s", c.method, c.path, c.coding, text.String())
		}
	}
}
