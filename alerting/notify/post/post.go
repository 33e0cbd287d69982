// Package post sends one HTTP request for a receiver and says what came of it. In: where to, as the configuration says
// it, and a body. Out: what the other side answered, or an error that says whether trying again can help. It promises
// that a request counts as delivered only when the other side answered as expected: 2xx, and what a check finds in the
// answer. It never follows a redirect, never waits longer than its timeout, and never shows the URL, a header or a
// password in an error.
package post

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/certs"
	"kemi.dev/kemi/internal/conf"
)

// Config is what all receivers that speak HTTP have in common.
type Config struct {
	// URL is where pages go; it may hold a secret and is treated as one.
	URL conf.Secret `yaml:"url"`
	// Timeout of one attempt.
	Timeout time.Duration `yaml:"timeout"`
	// Headers to send beside our own.
	Headers map[string]conf.Secret `yaml:"headers"`
	// BearerToken for the Authorization header.
	BearerToken conf.Secret `yaml:"bearer_token"`
	// BasicAuth for the Authorization header.
	BasicAuth *BasicAuth `yaml:"basic_auth"`
	// TLS says whom to trust and who we are.
	TLS *certs.Client `yaml:"tls"`
}

// BasicAuth is a name and a password (RFC 7617).
type BasicAuth struct {
	// Username to send.
	Username string `yaml:"username"`
	// Password to send.
	Password conf.Secret `yaml:"password"`
}

// Default gives an attempt ten seconds.
func Default() Config { return Config{Timeout: 10 * time.Second} }

// Validate implements conf.Validator.
func (c *Config) Validate() []conf.Complaint {
	var all []conf.Complaint
	complain := func(field, what, do string) {
		all = append(all, conf.Complaint{Field: field, What: what, Do: do})
	}
	if c.URL.IsZero() {
		complain("url", "there is no url to send to", "write url: http://host/path, or url_file")
	} else if u, err := url.Parse(c.URL.Reveal()); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		complain("url", "the url is not one of a web server", "write http://host/path or https://host/path")
	}
	if c.Timeout <= 0 || c.Timeout > 5*time.Minute {
		complain("timeout", "timeout is out of range", "use 1s to 5m")
	}
	for name, value := range c.Headers {
		if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) }) || name == "" {
			complain("headers."+name, fmt.Sprintf("%q is no name of a header", name), "use letters, digits and dashes")
		} else if strings.ContainsFunc(value.Reveal(), func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			complain("headers."+name, "the header's value has a line end or another control character in it", "write it on one line")
		}
	}
	if c.BasicAuth != nil && !c.BearerToken.IsZero() {
		complain("basic_auth", "basic_auth and bearer_token are both given", "keep one of the two")
	}
	return all
}

// Client sends requests to one URL. It is safe for concurrent use.
type Client struct {
	config Config
	http   *http.Client
}

// New makes a client. It reads the files of TLS.
func New(c Config) (*Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 4
	if c.TLS != nil {
		side, err := c.TLS.TLS()
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = side
	}
	return &Client{config: c, http: &http.Client{
		Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // A POST that wandered off is not delivered.
		},
	}}, nil
}

// Request is what to send.
type Request struct {
	// Method of the request; empty is POST.
	Method string
	// ContentType of the body.
	ContentType string
	Body        []byte
	// Headers of the receiver; they win over those of the configuration.
	Headers map[string]string
	// Query is added to the URL's.
	Query url.Values
	// Statuses are those that mean delivered; empty is every 2xx.
	Statuses []int
	// Check looks into an answer of such a status; nil is content with the status.
	Check func(body []byte) error
}

// Keys are the headers by which the other side can fold what arrives twice: the page's ID and its deduplication key.
func Keys(p *event.Page) map[string]string {
	return map[string]string{"Idempotency-Key": p.ID, "X-Kemi-Dedup-Key": p.DedupKey}
}

// How much of an answer is read, in bytes: for a check, and for people, who see the beginning of what is left without the
// secrets.
const (
	maxAnswer = 1 << 20
	maxKept   = 1 << 14
	maxShown  = 512
)

var errHuge = errors.New("the answer is larger than 1 MiB")

// Send makes one attempt. The answer is its status and the beginning of its body, on one line, whatever came of it.
func (c *Client) Send(ctx context.Context, r Request) (answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	if r.Method == "" {
		r.Method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, c.config.URL.Reveal(), bytes.NewReader(r.Body))
	if err != nil {
		return "", notify.Permanent(errors.New("send request: the url is not valid"))
	}
	if len(r.Query) > 0 {
		query := req.URL.Query()
		maps.Copy(query, r.Query)
		req.URL.RawQuery = query.Encode()
	}
	c.dress(req, r)
	connected := false // Called before anything of a request is written, and by Do's own goroutine.
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }}))
	resp, err := c.http.Do(req)
	if err != nil {
		err = fmt.Errorf("reach the receiver: %w", Bare(err))
		if !connected {
			err = notify.NotArrived(err)
		}
		return "", err
	}
	defer resp.Body.Close()
	most := int64(maxKept)
	if r.Check != nil {
		most = maxAnswer + 1
	}
	body, readErr := io.ReadAll(io.LimitReader(resp.Body, most)) // Without a check what it says is a courtesy.
	said := oneLine([]byte(c.hide(req, string(body[:min(len(body), maxKept)]))))
	answer = strings.TrimSpace(resp.Status + " " + strings.ToValidUTF8(said[:min(len(said), maxShown)], ""))
	if !r.expects(resp.StatusCode) {
		return answer, classify(resp, answer)
	}
	if r.Check == nil {
		return answer, nil
	}
	if readErr == nil && len(body) > maxAnswer {
		readErr = errHuge
	}
	if readErr != nil {
		return answer, fmt.Errorf("read answer %s: %w", resp.Status, Bare(readErr))
	}
	if err := r.Check(body); err != nil {
		return answer, notify.RetryAfter(fmt.Errorf("the receiver answered %s: %w", answer, err), RetryAfter(resp.Header.Get("Retry-After"), time.Now()))
	}
	return answer, nil
}

// hide takes out of a text what it repeats of the request that is nobody's business.
func (c *Client) hide(req *http.Request, text string) string {
	secrets := []string{c.config.URL.Reveal(), req.URL.String(), c.config.BearerToken.Reveal()}
	for _, v := range c.config.Headers {
		secrets = append(secrets, v.Reveal())
	}
	if b := c.config.BasicAuth; b != nil {
		secrets = append(secrets, b.Password.Reveal())
	}
	return Hide(text, secrets...)
}

func (r Request) expects(status int) bool {
	if len(r.Statuses) > 0 {
		return slices.Contains(r.Statuses, status)
	}
	return status/100 == 2
}

func (c *Client) dress(req *http.Request, r Request) {
	if r.ContentType != "" {
		req.Header.Set("Content-Type", r.ContentType)
	}
	req.Header.Set("User-Agent", "Kemi")
	for name, value := range c.config.Headers {
		req.Header.Set(name, value.Reveal())
		if strings.EqualFold(name, "host") {
			req.Host = value.Reveal()
		}
	}
	for name, value := range r.Headers {
		req.Header.Set(name, value)
	}
	if !c.config.BearerToken.IsZero() {
		req.Header.Set("Authorization", "Bearer "+c.config.BearerToken.Reveal())
	}
	if b := c.config.BasicAuth; b != nil {
		req.SetBasicAuth(b.Username, b.Password.Reveal())
	}
}

// Longest is how long a receiver can ask to be left alone.
const Longest = 24 * time.Hour

// Busy reports whether a status is about now, not about the page.
func Busy(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	default:
		return status/100 == 5
	}
}

// Refuses reports whether an answer means that the page was certainly not taken: every 3xx and 4xx, and a 503 that says when
// to come again (RFC 9110, 15). Any other 5xx may be a gateway's, whose backend has the page.
func Refuses(status int, after time.Duration) bool {
	switch status / 100 {
	case 3, 4:
		return true
	default:
		return status == http.StatusServiceUnavailable && after > 0
	}
}

// classify says of a refusal whether trying again can help.
func classify(resp *http.Response, answer string) error {
	err := fmt.Errorf("the receiver answered %s", answer)
	switch code := resp.StatusCode; {
	case Busy(code):
		after := RetryAfter(resp.Header.Get("Retry-After"), time.Now())
		if Refuses(code, after) {
			err = notify.NotArrived(err)
		}
		return notify.RetryAfter(err, after)
	case code/100 == 2: // It was taken, but not as the configuration expects it.
		return notify.Unclear(notify.Permanent(err))
	case code/100 == 3:
		return notify.Permanent(fmt.Errorf("%w: redirects are not followed, give the url it leads to", err))
	default:
		return notify.Permanent(err)
	}
}

// oneLine makes one line of the beginning of a body.
func oneLine(body []byte) string {
	s := strings.ToValidUTF8(string(body), "")
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r >= 0x80 && r < 0xA0 }), " ")
}

// Bare takes the URL out of an error of the client.
func Bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// RetryAfter reads a Retry-After header: seconds or a date (RFC 9110, 10.2.3); at most a day.
func RetryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, Longest.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, min(at.Sub(now), Longest))
	}
	return 0
}
