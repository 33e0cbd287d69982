// Package webhook posts pages as Alertmanager does, so that everything that takes its webhooks takes ours. In: pages.
// Out: HTTP POSTs with Alertmanager's payload version 4, our own object "kemi" in it, and the page's ID as
// Idempotency-Key. It promises that a page counts as delivered only when the other side answered 2xx. It never follows
// a redirect, and never shows the URL, the token or a header in an error.
package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// Config of a webhook.
type Config struct {
	// URL is where pages are posted; it may hold a secret and is treated as one.
	URL conf.Secret `yaml:"url"`
	// Timeout of one attempt.
	Timeout time.Duration `yaml:"timeout"`
	// Headers to send beside our own.
	Headers map[string]conf.Secret `yaml:"headers"`
	// BearerToken for the Authorization header.
	BearerToken conf.Secret `yaml:"bearer_token"`
}

// Default gives an attempt ten seconds.
func Default() Config { return Config{Timeout: 10 * time.Second} }

// Validate implements conf.Validator.
func (c *Config) Validate() []conf.Complaint {
	var all []conf.Complaint
	if c.URL.IsZero() {
		all = append(all, conf.Complaint{Field: "url", What: "a webhook needs a url", Do: "write url: http://host/path, or url_file"})
	} else if u, err := url.Parse(c.URL.Reveal()); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		all = append(all, conf.Complaint{Field: "url", What: "the url of the webhook is not one of a web server", Do: "write http://host/path or https://host/path"})
	}
	if c.Timeout <= 0 || c.Timeout > 5*time.Minute {
		all = append(all, conf.Complaint{Field: "timeout", What: "timeout is out of range", Do: "use 1s to 5m"})
	}
	for name := range c.Headers {
		if strings.ContainsAny(name, " \t\r\n:") || name == "" {
			all = append(all, conf.Complaint{Field: "headers." + name, What: fmt.Sprintf("%q is no name of a header", name), Do: "use letters, digits and dashes"})
		}
	}
	return all
}

// Webhook posts pages to one URL.
type Webhook struct {
	name     string
	config   Config
	external string
	client   *http.Client
}

// New makes the receiver of the given name.
func New(name string, c Config, env notify.Env) (notify.Notifier, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 4
	return &Webhook{
		name: name, config: c, external: env.ExternalURL,
		client: &http.Client{
			Transport: transport,
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse // A POST that wandered off is not delivered.
			},
		},
	}, nil
}

// Dedups implements notify.Notifier: the other side gets keys to fold by.
func (w *Webhook) Dedups() bool { return true }

// Notify implements notify.Notifier.
func (w *Webhook) Notify(ctx context.Context, p *event.Page) (string, error) {
	body, err := json.Marshal(payloadOf(p, w.name, w.external))
	if err != nil {
		return "", notify.Permanent(fmt.Errorf("encode page: %w", err))
	}
	ctx, cancel := context.WithTimeout(ctx, w.config.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.config.URL.Reveal(), bytes.NewReader(body))
	if err != nil {
		return "", notify.Permanent(errors.New("post page: the url is not valid"))
	}
	for name, value := range w.config.Headers {
		req.Header.Set(name, value.Reveal())
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Kemi")
	req.Header.Set("Idempotency-Key", p.ID)
	req.Header.Set("X-Kemi-Dedup-Key", p.DedupKey)
	if !w.config.BearerToken.IsZero() {
		req.Header.Set("Authorization", "Bearer "+w.config.BearerToken.Reveal())
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return "", fmt.Errorf("post page: %w", bare(err))
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // What it says is a courtesy; the status counts.
	answer := strings.TrimSpace(resp.Status + " " + strings.Join(strings.Fields(string(said)), " "))
	if resp.StatusCode/100 == 2 {
		return answer, nil
	}
	err = fmt.Errorf("post page: the receiver answered %s", answer)
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code == http.StatusTooEarly, code/100 == 5:
		return answer, notify.RetryAfter(err, after(resp.Header.Get("Retry-After"), time.Now()))
	case code/100 == 3:
		return answer, notify.Permanent(fmt.Errorf("%w: redirects are not followed", err))
	default:
		return answer, notify.Permanent(err)
	}
}

// bare takes the URL out of an error of the client.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// after reads a Retry-After header: seconds or a date (RFC 9110, 10.2.3).
func after(value string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 {
		return min(time.Duration(min(seconds, 86400))*time.Second, 24*time.Hour)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, min(at.Sub(now), 24*time.Hour))
	}
	return 0
}
