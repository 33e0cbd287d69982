// Package web guards Kemi's HTTP listener.
//
// In: requests from anywhere. Out: those that may pass, handed to the real handler.
// It promises that nothing but loopback is served unless tokens or an explicit "insecure" say so, that a page of
// another origin cannot act (cross-origin POSTs are refused) nor read by DNS rebinding (the Host header is checked),
// and that tokens are compared in constant time and never logged.
// It never decides what a caller may do beyond "in or out".
package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"kemi.dev/kemi/internal/conf"
)

// Auth says who may come in: bearer tokens from a file, and optionally TLS.
type Auth struct {
	Pos conf.Pos
	// TokensFile has one "name token" per line; empty lines and lines with # are skipped. A browser gives the name as
	// user and the token as password.
	TokensFile string `yaml:"tokens_file"`
	// TLS serves HTTPS with this certificate and key (PEM files).
	TLS *TLS `yaml:"tls"`
}

// TLS names the server's certificate.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Validate implements conf.Validator.
func (a *Auth) Validate() []conf.Complaint {
	var cs []conf.Complaint
	if a.TokensFile == "" {
		cs = append(cs, conf.Complaint{Field: "tokens_file", What: "no tokens", Do: `name a file with one "name token" per line`})
	}
	if a.TLS != nil && (a.TLS.Cert == "" || a.TLS.Key == "") {
		cs = append(cs, conf.Complaint{Field: "tls", What: "cert and key go together", Do: "give both"})
	}
	return cs
}

// CheckListen refuses an address that the world can reach unless auth or insecure says that this is meant.
func CheckListen(addr string, auth *Auth, insecure bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("the address %q to listen on is not of the form HOST:PORT, such as 127.0.0.1:7070", addr)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return fmt.Errorf("the port of the address %q to listen on is none: use 1 to 65535", addr)
	}
	if auth != nil || insecure || host == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("listening on %s would let everybody in: listen on 127.0.0.1, or give auth: {tokens_file: …}, or say insecure: true", addr)
}

// Guard lets requests through to next: see the package comment. externalURL, if not empty, names the host that a
// reverse proxy in front is called by. open lists paths that need no token; one that ends in a slash is everything right
// below it.
type Guard struct {
	file   string // of tokens; empty: nobody needs one
	tokens atomic.Pointer[[][sha256.Size]byte]
	host   string
	open   map[string]bool
	next   http.Handler
}

// NewGuard reads the tokens.
func NewGuard(auth *Auth, externalURL string, open []string, next http.Handler) (*Guard, error) {
	origins := http.NewCrossOriginProtection()
	g := &Guard{open: map[string]bool{}, next: origins.Handler(next)}
	for _, p := range open {
		g.open[p] = true
	}
	if u, err := url.Parse(externalURL); err == nil {
		g.host = u.Hostname()
		if u.Host != "" { // A proxy in front may not hand on by which name it was called.
			if err := origins.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
				return nil, fmt.Errorf("trust external_url: %w", err)
			}
		}
	}
	if auth == nil {
		return g, nil
	}
	g.file = auth.TokensFile
	return g, g.Reload()
}

// Reload reads the tokens again; on a mistake the old ones stay.
func (g *Guard) Reload() error {
	if g.file == "" {
		return nil
	}
	data, err := os.ReadFile(g.file)
	if err != nil {
		return fmt.Errorf("read tokens: %w", err)
	}
	var tokens [][sha256.Size]byte
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 2 || len(fields[1]) < 16 {
			return fmt.Errorf(`%s:%d: expected "name token" with a token of 16 characters or more`, g.file, i+1)
		}
		tokens = append(tokens, sha256.Sum256([]byte(fields[1])))
	}
	if len(tokens) == 0 {
		return fmt.Errorf("%s: no token in it: nobody could come in", g.file)
	}
	g.tokens.Store(&tokens)
	return nil
}

// ServeHTTP implements http.Handler.
func (g *Guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !g.knownHost(r.Host) {
		http.Error(w, "this Host is not served here; set external_url to the name you use", http.StatusMisdirectedRequest)
		return
	}
	if g.file != "" && !g.isOpen(r.URL.Path) && !g.authentic(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="kemi"`)
		http.Error(w, "a token is needed: Authorization: Bearer …", http.StatusUnauthorized)
		return
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	g.next.ServeHTTP(w, r)
}

// isOpen reports whether a path needs no token. What is not written as it is meant (/open/../closed) needs one.
func (g *Guard) isOpen(p string) bool {
	if g.open[p] && !strings.HasSuffix(p, "/") {
		return true
	}
	dir, name := path.Split(p)
	return name != "" && g.open[dir] && path.Clean(p) == p
}

// knownHost accepts what a rebinding attacker cannot use: addresses, localhost, this machine's own name and the
// external name.
func (g *Guard) knownHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	own, _ := os.Hostname()
	for _, name := range []string{"localhost", g.host, own} {
		if name != "" && strings.EqualFold(host, name) {
			return true
		}
	}
	return false
}

func (g *Guard) authentic(r *http.Request) bool {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer {
		_, password, ok := r.BasicAuth()
		if !ok {
			return false
		}
		token = password
	}
	given := sha256.Sum256([]byte(token))
	found := 0
	for _, token := range *g.tokens.Load() {
		found |= subtle.ConstantTimeCompare(given[:], token[:])
	}
	return found == 1
}

// Serve answers on ln until ctx ends. There is no write timeout, since tails stream; they get a moment to end, then are
// cut. A head has to come within 10 s, a body at the pace of bodies.
func Serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	return serve(ctx, ln, h, bodies)
}

func serve(ctx context.Context, ln net.Listener, h http.Handler, p pace) error {
	srv := &http.Server{Handler: slow(p, h), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), 300*time.Millisecond)
	defer cancel()
	if srv.Shutdown(short) != nil {
		srv.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Listen opens the listener; the error of a taken port says what to do.
func Listen(addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err == nil {
		return ln, nil
	}
	var op *net.OpError
	if errors.As(err, &op) && strings.Contains(op.Err.Error(), "address already in use") {
		return nil, fmt.Errorf("listen on %s: the port is taken: is another Kemi running? choose another with listen: in the configuration", addr)
	}
	return nil, fmt.Errorf("listen on %s: %w", addr, err)
}
