// Package http checks services that speak HTTP.
//
// In: Jobs of kind http, whose settings say what to ask and what to expect. Out: their Readings, with status, latency by
// phase, size, whether the body is as expected, and when the certificate expires.
// It promises that a service which answers otherwise than expected is not up, and says in what way.
// It never keeps a connection: every check goes the whole way that a new user of the service goes. It reads no more of a
// body than a mebibyte, never uses a proxy of its environment and never shows a credential, nor takes headers or
// credentials along to another place that the target redirects it to.
package http

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/collector/poller"
	"kemi.dev/kemi/internal/conf"
)

// Poller checks HTTP services.
type Poller struct {
	credentials map[string]Config
	// strict verifies certificates, lax does not.
	strict, lax *http.Transport

	mu    sync.Mutex
	specs map[string]*check // compiled, by their JSON
}

// New makes a poller.
func New(s poller.Setup) (*Poller, conf.Problems) {
	p := &Poller{credentials: map[string]Config{}, specs: map[string]*check{}}
	p.strict = transport(nil)
	p.lax = transport(&tls.Config{InsecureSkipVerify: true}) //nolint:gosec // The check asks for it by name.
	var problems conf.Problems
	for _, name := range slices.Sorted(maps.Keys(s.Credentials)) {
		c := Default()
		problems = append(problems, s.Credentials[name].Into(&c)...)
		p.credentials[name] = c
	}
	return p, problems
}

func transport(t *tls.Config) *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{KeepAlive: -1}).DialContext,
		TLSClientConfig:        t,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 256 << 10,
	}
}

// Close implements poller.Closer.
func (p *Poller) Close() error {
	p.strict.CloseIdleConnections()
	p.lax.CloseIdleConnections()
	return nil
}

const (
	// maxBody is how much of a body is read.
	maxBody = 1 << 20
	// probeTimeout is how long a service that did not answer several times gets.
	probeTimeout = time.Second
	maxSpecs     = 4096
)

// Poll implements poller.Poller.
func (p *Poller) Poll(ctx context.Context, job *event.Job) *event.Reading {
	r := event.ReadingFor(job)
	r.Started = time.Now()
	if err := p.poll(ctx, job, r); err != nil {
		r.Status, r.Message = classify(err)
	}
	r.Duration = time.Since(r.Started)
	return r
}

func (p *Poller) poll(ctx context.Context, job *event.Job, r *event.Reading) error {
	c, err := p.check(job.Spec)
	if err != nil {
		return err
	}
	target, err := address(job.Address, c.spec.Path)
	if err != nil {
		return err
	}
	timeout := c.spec.Timeout
	if poller.Probing(ctx) {
		timeout = min(timeout, probeTimeout)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var body *strings.Reader
	if c.spec.Body != "" {
		body = strings.NewReader(c.spec.Body)
	}
	req, err := newRequest(ctx, c, target, body)
	if err != nil {
		return err
	}
	if job.Credential != "" {
		cred, known := p.credentials[job.Credential]
		if !known {
			return fmt.Errorf("this poller knows no HTTP credential %q", job.Credential)
		}
		cred.sign(req)
	}
	t := p.strict
	if c.spec.InsecureSkipVerify {
		t = p.lax
	}
	return c.run(req, t, r)
}

func newRequest(ctx context.Context, c *check, target string, body *strings.Reader) (*http.Request, error) {
	var req *http.Request
	var err error
	if body == nil { // A nil *Reader in an interface is not nil.
		req, err = http.NewRequestWithContext(ctx, c.spec.Method, target, nil)
	} else {
		req, err = http.NewRequestWithContext(ctx, c.spec.Method, target, body)
	}
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("User-Agent", "kemi")
	for name, value := range c.spec.Headers {
		if strings.EqualFold(name, "host") {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	return req, nil
}

// address joins a target's address, "http://host:port/base" or "host:port", with a path.
func address(target, path string) (string, error) {
	if !strings.Contains(target, "://") {
		target = "http://" + target
	}
	u, err := url.Parse(target)
	if err != nil {
		return "", fmt.Errorf("read address: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return "", fmt.Errorf("the address %q is no http:// or https:// URL", target)
	}
	if path == "" {
		return u.String(), nil
	}
	own, err := url.Parse(path)
	if err != nil {
		return "", fmt.Errorf("read path: %w", err)
	}
	joined := u.JoinPath(own.EscapedPath())
	joined.RawQuery = own.RawQuery
	return joined.String(), nil
}

// check gives the compiled form of a job's settings.
func (p *Poller) check(raw json.RawMessage) (*check, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.specs[string(raw)]; c != nil {
		return c, nil
	}
	s := defaultSpec()
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, fmt.Errorf("read the job's settings: %w", err)
		}
	}
	c, err := compile(s)
	if err != nil {
		return nil, fmt.Errorf("read the job's settings: %w", err)
	}
	if len(p.specs) >= maxSpecs {
		clear(p.specs)
	}
	p.specs[string(raw)] = c
	return c, nil
}
