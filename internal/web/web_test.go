package web_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kemi.dev/kemi/internal/web"
)

const token = "0123456789abcdef0123"

func guard(t *testing.T, auth *web.Auth) *web.Guard {
	t.Helper()
	g, err := web.NewGuard(auth, "https://kemi.example.org/", []string{"/-/healthy", "/ack/"}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
	}))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func tokens(t *testing.T, content string) *web.Auth {
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return &web.Auth{TokensFile: file}
}

func status(g http.Handler, method, host, path string, headers ...string) int {
	r := httptest.NewRequest(method, path, nil)
	r.Host = host
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w.Code
}

func TestHostsThatARebindingPageCouldUseAreRefused(t *testing.T) {
	g := guard(t, nil)
	for host, want := range map[string]int{
		"127.0.0.1:7070": 418, "localhost:7070": 418, "[::1]:7070": 418, "10.1.2.3": 418, "kemi.example.org": 418,
		"evil.example.com": 421, "127.0.0.1.evil.example.com:7070": 421, "": 421,
	} {
		if got := status(g, "GET", host, "/"); got != want {
			t.Errorf("Host %q: %d, want %d", host, got, want)
		}
	}
}

func TestOtherOriginsCannotAct(t *testing.T) {
	g := guard(t, nil)
	for _, c := range []struct {
		method string
		header []string
		want   int
	}{
		{"POST", []string{"Origin", "https://evil.example.com"}, 403},
		{"POST", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"POST", []string{"Sec-Fetch-Site", "same-origin"}, 418},
		{"POST", nil, 418}, // curl and kemi itself send no Origin.
		{"GET", []string{"Origin", "https://evil.example.com"}, 418},
	} {
		if got := status(g, c.method, "127.0.0.1", "/", c.header...); got != c.want {
			t.Errorf("%s %q: %d, want %d", c.method, c.header, got, c.want)
		}
	}
}

func TestTokensOpenTheDoor(t *testing.T) {
	g := guard(t, tokens(t, "# people\njo "+token+"\n\nbot another-token-of-length\n"))
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth("jo", token)
	for _, c := range []struct {
		path   string
		header []string
		want   int
	}{
		{"/", nil, 401},
		{"/-/healthy", nil, 418},
		{"/ack/token", nil, 418},
		{"/ack/", nil, 401},
		{"/ack", nil, 401},
		{"/ack/..", nil, 401},
		{"/ack/.", nil, 401},
		{"/ack/../api", nil, 401},
		{"/ack/%2e%2e", nil, 401},
		{"/ack/a/b", nil, 401},
		{"/ack/..%2fapi", nil, 401},
		{"//ack/token", nil, 401},
		{"/", []string{"Authorization", "Bearer " + token}, 418},
		{"/", []string{"Authorization", "Bearer another-token-of-length"}, 418},
		{"/", []string{"Authorization", "Bearer wrong"}, 401},
		{"/", []string{"Authorization", r.Header.Get("Authorization")}, 418},
	} {
		if got := status(g, "GET", "127.0.0.1", c.path, c.header...); got != c.want {
			t.Errorf("%s %q: %d, want %d", c.path, c.header, got, c.want)
		}
	}
}

func TestTokensAreReadAgain(t *testing.T) {
	auth := tokens(t, "jo "+token+"\n")
	g := guard(t, auth)
	if err := os.WriteFile(auth.TokensFile, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := g.Reload(); err == nil || status(g, "GET", "127.0.0.1", "/", "Authorization", "Bearer "+token) != 418 {
		t.Errorf("a file with a mistake replaced the tokens: %v", err)
	}
	if err := os.WriteFile(auth.TokensFile, []byte("jo another-token-of-length"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := g.Reload(); err != nil || status(g, "GET", "127.0.0.1", "/", "Authorization", "Bearer "+token) != 401 {
		t.Errorf("a token that was taken away still opens: %v", err)
	}
}

func TestTokenFilesThatLetNobodyInAreRefused(t *testing.T) {
	for content, want := range map[string]string{
		"# none\n": "nobody could come in", "jo short\n": ":1: expected", "lonely-token-of-sixteen\n": ":1: expected",
	} {
		_, err := web.NewGuard(tokens(t, content), "", nil, http.NotFoundHandler())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
	}
	if _, err := web.NewGuard(&web.Auth{TokensFile: "/nowhere"}, "", nil, http.NotFoundHandler()); err == nil {
		t.Error("a missing tokens file was accepted")
	}
}

func TestOnlyLoopbackIsServedUnasked(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:7070": true, "localhost:7070": true, "[::1]:7070": true, "127.9.9.9:1": true,
		"0.0.0.0:7070": false, ":7070": false, "192.0.2.1:7070": false, "nonsense": false, "127.0.0.1:70700": false, "7070": false,
	} {
		if err := web.CheckListen(addr, nil, false); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for _, err := range []error{web.CheckListen(":7070", nil, true), web.CheckListen(":7070", &web.Auth{}, false)} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestATakenPortSaysWhatToDo(t *testing.T) {
	ln, err := web.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if _, err := web.Listen(ln.Addr().String()); err == nil || !strings.Contains(err.Error(), "the port is taken") {
		t.Errorf("got %v", err)
	}
}

// A proxy that does not hand on by which name it was called keeps nobody from acknowledging.
func TestThePageOfTheExternalURLMayAct(t *testing.T) {
	g := guard(t, nil)
	if got := status(g, http.MethodPost, "127.0.0.1:7070", "/ack/x", "Origin", "https://kemi.example.org"); got != http.StatusTeapot {
		t.Errorf("from our own page: %d", got)
	}
	if got := status(g, http.MethodPost, "127.0.0.1:7070", "/ack/x", "Origin", "https://evil.example.org"); got != http.StatusForbidden {
		t.Errorf("from another: %d", got)
	}
}
