package http

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"kemi.dev/kemi/bus/event"
)

// phases are when the parts of the newest exchange were over; a redirect begins them anew. Dials may go on, and tell so,
// after the exchange is over.
type phases struct {
	mu sync.Mutex
	at [phaseCount]time.Time
}

const (
	dnsStart = iota
	dnsDone
	dialStart
	dialDone
	tlsStart
	tlsDone
	firstByte
	phaseCount
)

func (p *phases) note(phase int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at[phase] = time.Now()
}

func (p *phases) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.at = [phaseCount]time.Time{}
		},
		DNSStart:             func(httptrace.DNSStartInfo) { p.note(dnsStart) },
		DNSDone:              func(httptrace.DNSDoneInfo) { p.note(dnsDone) },
		ConnectStart:         func(string, string) { p.note(dialStart) },
		ConnectDone:          func(string, string, error) { p.note(dialDone) },
		TLSHandshakeStart:    func() { p.note(tlsStart) },
		TLSHandshakeDone:     func(tls.ConnectionState, error) { p.note(tlsDone) },
		GotFirstResponseByte: func() { p.note(firstByte) },
	}
}

// run makes the request and fills the reading; an error means that there was no answer.
func (c *check) run(req *http.Request, t *http.Transport, r *event.Reading) error {
	var p phases
	client := http.Client{Transport: t, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		switch {
		case !c.spec.FollowRedirects:
			return http.ErrUseLastResponse
		case len(via) >= redirects:
			return fmt.Errorf("more than %d redirects", redirects)
		}
		strip(next, via[0])
		return nil
	}}
	begun := time.Now()
	res, err := client.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), p.trace())))
	if err != nil {
		if at, ok := expiryOf(err); ok {
			r.Tables = []event.Table{{Name: tableName, Rows: 1, Columns: []event.Column{expiry(at)}}}
		}
		return bare(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	took := time.Since(begun)
	if err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	columns := []event.Column{
		gauge("http_status_code", "", float64(res.StatusCode)),
		gauge("http_duration_seconds", "seconds", took.Seconds()),
		gauge("http_response_bytes", "bytes", float64(len(body))),
	}
	columns = append(columns, p.columns()...)
	matched := true
	if c.body != nil {
		matched = c.body.Match(body)
		v := 0.0
		if matched {
			v = 1
		}
		columns = append(columns, gauge("http_body_match", "", v))
	}
	if res.TLS != nil && len(res.TLS.PeerCertificates) > 0 {
		at := res.TLS.PeerCertificates[0].NotAfter
		for _, cert := range res.TLS.PeerCertificates[1:] { // The chain is as good as its first to expire.
			if cert.NotAfter.Before(at) {
				at = cert.NotAfter
			}
		}
		columns = append(columns, expiry(at))
	}
	r.Tables = []event.Table{{Name: tableName, Rows: 1, Columns: columns}}
	r.Status, r.Message = c.judge(res.StatusCode, matched, took)
	return nil
}

// judge compares an answer with what was expected.
func (c *check) judge(code int, matched bool, took time.Duration) (event.Status, string) {
	e := &c.spec.Expect
	switch {
	case !e.Status.match(code) && (code == http.StatusUnauthorized || code == http.StatusForbidden):
		return event.StatusAuth, fmt.Sprintf("the service answers %d %s, expected %s", code, http.StatusText(code), e.Status)
	case !e.Status.match(code):
		return event.StatusError, fmt.Sprintf("the service answers %d %s, expected %s", code, http.StatusText(code), e.Status)
	case !matched && e.Contains != "":
		return event.StatusError, fmt.Sprintf("the body does not contain %q", e.Contains)
	case !matched:
		return event.StatusError, fmt.Sprintf("the body does not match %q", e.Body)
	case e.MaxLatency > 0 && took > e.MaxLatency:
		return event.StatusError, fmt.Sprintf("the answer took %s, expected at most %s", took.Round(time.Millisecond), e.MaxLatency)
	}
	return event.StatusOK, ""
}

// columns are the lengths of the phases that the exchange had.
func (p *phases) columns() (columns []event.Column) {
	p.mu.Lock()
	defer p.mu.Unlock()
	add := func(name string, from, to int) {
		if !p.at[from].IsZero() && !p.at[to].IsZero() {
			columns = append(columns, gauge(name, "seconds", p.at[to].Sub(p.at[from]).Seconds()))
		}
	}
	add("http_dns_seconds", dnsStart, dnsDone)
	add("http_connect_seconds", dialStart, dialDone)
	add("http_tls_seconds", tlsStart, tlsDone)
	if p.at[tlsDone].IsZero() {
		add("http_first_byte_seconds", dialDone, firstByte)
	} else {
		add("http_first_byte_seconds", tlsDone, firstByte)
	}
	return columns
}

func expiry(at time.Time) event.Column {
	return gauge("http_cert_expiry_timestamp_seconds", "seconds", float64(at.Unix()))
}

// expiryOf finds the certificate that was not accepted.
func expiryOf(err error) (time.Time, bool) {
	var verify *tls.CertificateVerificationError
	if errors.As(err, &verify) && len(verify.UnverifiedCertificates) > 0 {
		return verify.UnverifiedCertificates[0].NotAfter, true
	}
	return time.Time{}, false
}

// bare takes method and URL off an error: the target is known, and its URL may hold a password.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Names of the values, which are also metrics.
const (
	tableName = "http"
	redirects = 10
)

func gauge(name, unit string, v float64) event.Column {
	return event.Column{Name: name, Kind: event.Gauge, Unit: unit, Gauges: []float64{v}}
}

// classify turns an error into the outcome of a job.
func classify(err error) (event.Status, string) {
	var dns *net.DNSError
	var verify *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.Canceled):
		return event.StatusError, "the check was called off"
	case errors.As(err, &dns):
		if dns.IsTimeout {
			return event.StatusUnreachable, fmt.Sprintf("the name %s was not resolved in time", dns.Name)
		}
		return event.StatusUnreachable, fmt.Sprintf("the name %s has no address", dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return event.StatusRefused, "the connection was refused: nothing listens there"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTDOWN):
		return event.StatusUnreachable, "the network cannot reach the target"
	case errors.As(err, &verify):
		return event.StatusError, "the certificate is not accepted: " + verify.Err.Error()
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return event.StatusTimeout, "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return event.StatusError, "the connection was closed before the answer was complete"
	}
	return event.StatusError, strings.TrimSpace(err.Error())
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
