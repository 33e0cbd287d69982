package dashboards

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/grafana-tools/sdk"
)

// client speaks to one Grafana: through the sdk where it can, and directly where the sdk knows only numeric ids, which
// Grafana 13 no longer takes (data sources), or cannot say what is needed (a dashboard's folder by uid, a message).
type client struct {
	*sdk.Client
	base *url.URL
	http *http.Client
}

func newClient(c Config) (*client, error) {
	if err := checkURL(c.URL); err != nil {
		return nil, fmt.Errorf("grafana url %w", err)
	}
	base, err := url.Parse(strings.TrimRight(c.URL, "/"))
	if err != nil {
		return nil, err
	}
	h := &http.Client{
		Timeout:   30 * time.Second,
		Transport: &door{config: c, next: http.DefaultTransport},
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			return fmt.Errorf("grafana is elsewhere, it sends on to %s: correct its url", r.URL.Redacted())
		},
	}
	// The sdk gets no credentials: the door adds them, so that they are in no address and no message.
	inner, err := sdk.NewClient(base.String(), "", h)
	if err != nil {
		return nil, fmt.Errorf("make grafana client: %w", err)
	}
	return &client{inner, base, h}, nil
}

// call sends in as JSON and reads the answer into out.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read the answer of %s %s: %w", method, path, err)
	}
	return nil
}

// door is the transport of every call: it adds the credentials, bounds the answer and turns refusals into errors, which
// the sdk does only in part.
type door struct {
	config Config
	next   http.RoundTripper
}

// maxAnswer bounds what is read of one answer, in bytes.
const maxAnswer = 16 << 20

// RoundTrip implements http.RoundTripper.
func (d *door) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", "kemi")
	if !d.config.Token.IsZero() {
		r.Header.Set("Authorization", "Bearer "+d.config.Token.Reveal())
	} else if d.config.User != "" {
		r.SetBasicAuth(d.config.User, d.config.Password.Reveal())
	}
	resp, err := d.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = bounded{http.MaxBytesReader(nil, resp.Body, maxAnswer)}
	if resp.StatusCode < http.StatusBadRequest {
		return resp, nil
	}
	defer resp.Body.Close()
	var said struct{ Message, Status string }
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	_ = json.Unmarshal(data, &said) // An answer that is not JSON has no message.
	return nil, &StatusError{Method: r.Method, Path: r.URL.Path, Status: resp.StatusCode, Reason: said.Status, Message: said.Message}
}

type bounded struct{ io.ReadCloser }

// StatusError is a refusal by Grafana.
type StatusError struct {
	Method, Path string
	// Status is HTTP's; Reason Grafana's, such as "version-mismatch"; Message is for people. Both may be empty.
	Status          int
	Reason, Message string
}

// Error implements error; it says what to do where that is known.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("grafana answered %d to %s %s", e.Status, e.Method, e.Path)
	if e.Message != "" {
		text += " (" + e.Message + ")"
	}
	switch e.Status {
	case http.StatusUnauthorized:
		text += ": it does not know the token or password: make a service account token and give its file as token_file"
	case http.StatusForbidden:
		text += ": the account may not do this: it needs the role Admin, or Editor when folder and data source exist"
	case http.StatusNotFound:
		text += ": correct grafana's url, with its path if it is served below one"
	}
	return text
}

// answered reports whether err is a refusal with one of the statuses.
func answered(err error, status ...int) bool {
	var e *StatusError
	if !errors.As(err, &e) {
		return false
	}
	for _, s := range status {
		if e.Status == s {
			return true
		}
	}
	return false
}

// plain takes what net/http puts around an error away: our own say it better, and others need the address only once.
func plain(err error) error {
	var e *StatusError
	var u *url.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &u):
		return u.Err
	}
	return err
}
