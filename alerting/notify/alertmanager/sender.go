package alertmanager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/config/receiver"
	amnotify "github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/common/model"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/post"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// sender is one of Alertmanager's notifiers and the wire it sends by. Only one page at a time goes through it.
type sender struct {
	to     amnotify.Integration
	wire   *wire
	client *http.Client
	read   string // What the secrets were.
	spoilt bool   // It is not to be used again.
	plain  bool   // It is without the templates of the configuration.
}

func (s *sender) close() { s.client.CloseIdleConnections() }

// make builds a sender from the settings with others over them: as a whole configuration of Alertmanager's with one
// receiver, so that its defaults and checks apply. Plain leaves the templates of the configuration out.
func (r *Receiver) make(over map[string]any, plain bool) (*sender, error) {
	settings := maps.Clone(r.settings)
	if plain {
		settings, _ = untemplated(settings).(map[string]any)
	}
	if r.spec.defaults != nil {
		for key, value := range r.spec.defaults(settings) {
			if _, own := settings[key]; !own {
				settings[key] = value
			}
		}
	}
	for key, value := range over {
		if settings[key] = value; value == nil {
			delete(settings, key)
		}
	}
	if _, told := settings["send_resolved"]; !told {
		settings["send_resolved"] = true
	}
	open, err := reveal(settings)
	if err != nil {
		return nil, err
	}
	doc, err := json.Marshal(map[string]any{ // Which is YAML, too.
		"route":     map[string]any{"receiver": r.name},
		"receivers": []any{map[string]any{"name": r.name, r.spec.list: []any{open}}},
	})
	if err != nil {
		return nil, fmt.Errorf("write settings: %w", err)
	}
	all, err := config.Load(string(doc))
	if err != nil {
		return nil, err
	}
	made, err := receiver.BuildReceiverIntegrations(all.Receivers[0], r.templates, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	client := clientOf(reflect.ValueOf(made[0]))
	if client == nil {
		return nil, errors.New("its client cannot be watched: with AWS_CA_BUNDLE set there is another, so unset it and name the file in http_config as tls_config, ca_file")
	}
	s := &sender{plain: plain, to: made[0], client: client, wire: &wire{next: client.Transport, agent: r.kind != "sns"}, read: r.reveal()}
	client.Transport = s.wire
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return s, nil
}

// clientOf finds the HTTP client of a notifier of Alertmanager's: it has no other way of showing what is answered, nor
// the Retry-After. A release that keeps it elsewhere fails as soon as a receiver is made, not when a page is due.
func clientOf(v reflect.Value) *http.Client {
	for v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		if v.Type() == reflect.TypeFor[*http.Client]() {
			return (*http.Client)(v.UnsafePointer())
		}
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return nil
	}
	for _, name := range []string{"notifier", "client"} {
		if f := v.FieldByName(name); f.IsValid() {
			return clientOf(f)
		}
	}
	return nil
}

// reveal copies settings with the secrets in the clear.
func reveal(v any) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, one := range v {
			open, err := reveal(one)
			if err != nil {
				return nil, err
			}
			out[key] = open
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, one := range v {
			open, err := reveal(one)
			if err != nil {
				return nil, err
			}
			out[i] = open
		}
		return out, nil
	case number:
		n, err := strconv.ParseInt(strings.TrimSpace(v.Reveal()), 10, 64)
		if err != nil {
			return nil, errors.New("the file " + v.Path() + " holds no whole number")
		}
		return n, nil
	case conf.Secret:
		return v.Reveal(), nil
	default:
		return v, nil
	}
}

// templated are the texts in settings that have a template in them.
func templated(v any) []string {
	var all []string
	switch v := v.(type) {
	case map[string]any:
		for key, one := range v {
			all = append(append(all, templated(key)...), templated(one)...)
		}
	case []any:
		for _, one := range v {
			all = append(all, templated(one)...)
		}
	case string:
		if strings.Contains(v, "{{") {
			all = append(all, v)
		}
	}
	return all
}

// untemplated copies settings without the texts that have a template in them; nil when nothing is left.
func untemplated(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, one := range v {
			if one = untemplated(one); one != nil && !strings.Contains(key, "{{") {
				out[key] = one
			}
		}
		if len(out) == 0 && len(v) > 0 {
			return nil
		}
		return out
	case []any:
		var out []any
		for _, one := range v {
			if one = untemplated(one); one != nil {
				out = append(out, one)
			}
		}
		if out == nil {
			return nil
		}
		return out
	case string:
		if strings.Contains(v, "{{") {
			return nil
		}
	}
	return v
}

// send hands a page over and judges what came of it.
func (s *sender) send(ctx context.Context, r *Receiver, p *event.Page, a aimed) (string, error) {
	words := model.LabelSet{}
	said := r.said(p)
	for name, text := range said {
		words[model.LabelName(name)] = model.LabelValue(text)
	}
	group := model.LabelSet{"incident": model.LabelValue(p.Incident)}
	if p.Snapshot != nil {
		for name, value := range p.Snapshot.About() {
			group[model.LabelName(name)] = model.LabelValue(valid(cut(value, maxLabel)))
		}
	}
	now := time.Now()
	in := amnotify.WithReceiverName(ctx, r.name)
	in = amnotify.WithGroupKey(in, a.group)
	in = amnotify.WithGroupLabels(in, group)
	in = amnotify.WithRouteLabels(in, words)
	in = amnotify.WithNotificationReason(in, reasonOf(p))
	in = amnotify.WithNow(in, now)
	alerts := alertsOf(p, r.env.ExternalURL, now)
	if !s.plain {
		if err := r.tryTemplates(in, alerts); err != nil {
			return "", unsent{err}
		}
	}
	again, err := s.notify(in, alerts)
	hide := func(text string) string {
		return r.hide(text, a.secret, s.wire.last.token, conf.NewSecret(said["ack"])) // Whoever has that link can acknowledge.
	}
	return s.verdict(ctx, r, again, err, hide)
}

// tryTemplates fills all templates of the settings once before: some senders go on without the words when one fails.
func (r *Receiver) tryTemplates(ctx context.Context, alerts []*alert.Alert) error {
	if len(r.texts) == 0 {
		return nil
	}
	data := amnotify.GetTemplateData(ctx, r.templates, alerts, slog.New(slog.DiscardHandler))
	for _, text := range r.texts {
		if _, err := r.templates.ExecuteTextString(text, data); err != nil {
			return fmt.Errorf("fill template %q: %w", cut(text, 80), err)
		}
	}
	return nil
}

// notify calls Alertmanager's code, which trusts what providers answer more than one should: a panic in it is an error.
func (s *sender) notify(ctx context.Context, alerts []*alert.Alert) (again bool, err error) {
	defer func() {
		if was := recover(); was != nil {
			s.spoilt = true
			again, err = true, fmt.Errorf("read answer: %v", was)
		}
	}()
	s.wire.begin(ctx)
	return s.to.Notify(ctx, alerts...)
}

func reasonOf(p *event.Page) amnotify.NotifyReason {
	switch p.Kind {
	case event.PageResolved:
		return amnotify.ReasonAllAlertsResolved
	case event.PageUpdate:
		return amnotify.ReasonNewAlertsInGroup
	default:
		return amnotify.ReasonFirstNotification
	}
}

// verdict says what came of a page, and what is known of whether it arrived when it was not taken.
func (s *sender) verdict(ctx context.Context, r *Receiver, again bool, err error, hide func(string) string) (string, error) {
	answer, refused, err := s.judge(ctx, r, again, err, hide)
	switch x := &s.wire.last; {
	case err == nil:
	case s.wire.unclear || x.maybe() && !refused:
		err = notify.Unclear(err)
	default:
		err = notify.NotArrived(err)
	}
	return answer, err
}

// judge says what came of a page: by the last exchange on the wire first, by what Alertmanager makes of it second. Refused
// says that the provider answered that it did not take it.
func (s *sender) judge(ctx context.Context, r *Receiver, again bool, err error, hide func(string) string) (answer string, no bool, _ error) {
	x := s.wire.last
	answer = cut(hide(x.answer), maxAnswer)
	refused := ""
	if r.spec.judge != nil && x.status != 0 {
		var too bool
		refused, too = r.spec.judge(x.status, x.body)
		no = refused != "" && !slices.ContainsFunc(r.spec.unclear, func(begin string) bool { return strings.HasPrefix(refused, begin) })
		refused = cut(hide(refused), maxAnswer)
		again = too || again && refused == "" && x.status/100 == 2
		s.spoilt = s.spoilt || refused != "" && r.spec.spoils
	}
	switch {
	case x.err != nil && ctx.Err() != nil:
		return "", false, fmt.Errorf("post page: %w", context.Cause(ctx))
	case x.err != nil:
		return "", false, fmt.Errorf("post page: %s", cut(hide(x.err.Error()), maxAnswer))
	case x.requests == 0 && ctx.Err() != nil:
		return "", false, fmt.Errorf("post page: %w", context.Cause(ctx))
	case x.requests == 0 && err != nil:
		return "", false, unsent{fmt.Errorf("write page: %s", cut(hide(err.Error()), maxAnswer))}
	case x.status/100 == 3:
		return answer, no, notify.Permanent(fmt.Errorf("post page: the receiver answered %s: redirects are not followed", answer))
	case x.status != 0 && x.status/100 != 2:
		err := fmt.Errorf("post page: the receiver answered %s", answer)
		if again || post.Busy(x.status) {
			return answer, no, notify.RetryAfter(err, x.after)
		}
		return answer, no, notify.Permanent(err)
	case refused != "" || err != nil:
		if refused == "" {
			refused = cut(hide(post.Bare(err).Error()), maxAnswer)
		}
		err := fmt.Errorf("post page: the receiver answered %s, but: %s", answer, refused)
		if again {
			return answer, no, notify.RetryAfter(err, x.after)
		}
		return answer, no, notify.Permanent(err)
	default:
		return answer, no, nil
	}
}
