// Package webhook posts pages as Alertmanager does, so that everything that takes its webhooks takes ours. In: pages.
// Out: HTTP POSTs with Alertmanager's payload version 4, our own object "kemi" in it, and the page's ID as
// Idempotency-Key. It promises that a page counts as delivered only when the other side answered 2xx. It never follows
// a redirect, and never shows the URL, the token or a header in an error.
package webhook

import (
	"context"
	"encoding/json"
	"fmt"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/post"
	"kemi.dev/kemi/bus/event"
)

// Config of a webhook.
type Config struct {
	post.Config `yaml:",inline"`
	// Folds says that the other side folds requests with the same Idempotency-Key: after a crash a page is sent again as
	// it was, and not marked as a possible duplicate.
	Folds bool `yaml:"folds"`
}

// Default gives an attempt ten seconds.
func Default() Config { return Config{Config: post.Default()} }

// Webhook posts pages to one URL.
type Webhook struct {
	name   string
	env    notify.Env
	folds  bool
	client *post.Client
}

// New makes the receiver of the given name.
func New(name string, c Config, env notify.Env) (notify.Notifier, error) {
	client, err := post.New(c.Config)
	if err != nil {
		return nil, err
	}
	return &Webhook{name: name, env: env, folds: c.Folds, client: client}, nil
}

// Dedups implements notify.Notifier: the other side gets keys to fold by, and may say that it does.
func (w *Webhook) Dedups() bool { return w.folds }

// Notify implements notify.Notifier.
func (w *Webhook) Notify(ctx context.Context, p *event.Page) (string, error) {
	body, err := json.Marshal(payloadOf(p, w.name, w.env))
	if err != nil {
		return "", notify.Permanent(fmt.Errorf("encode page: %w", err))
	}
	answer, err := w.client.Send(ctx, post.Request{ContentType: "application/json", Body: body, Headers: post.Keys(p)})
	if err != nil {
		return answer, fmt.Errorf("post page: %w", err)
	}
	return answer, nil
}
