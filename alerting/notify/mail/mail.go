// Package mail sends pages by mail. In: pages, a server that takes mail, and addresses of the configuration or of the
// page's person. Out: one mail per page with plain text and HTML, given to the server by SMTP. It promises that a page is
// the same mail however often it is sent, that the pages of an incident are one thread, that one address the server does
// not know keeps the mail from nobody else, and that nobody who has it gets it again because another has not. It never
// shows a password to a server it does not know, or on a connection that others can read.
package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	netmail "net/mail"
	"os"
	"slices"
	"strings"
	"sync"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/words"
	"kemi.dev/kemi/bus/event"
)

// Receiver gives mail to one server.
type Receiver struct {
	name          string
	config        Config
	env           notify.Env
	writer        *words.Writer
	from, replyTo *netmail.Address
	to            []*netmail.Address
	domain        string // Of the sender: identifiers are below it.
	hello         string
	tls           *tls.Config

	mu    sync.Mutex
	taken map[string][]string // By page that some have and others have not: who has it.
	order []string            // The pages in it, oldest first.
}

// maxPartial bounds for how many pages it is known who has them already.
const maxPartial = 1000

// New makes the receiver of the given name. It reads the files of TLS.
func New(name string, c Config, env notify.Env) (notify.Notifier, error) {
	r := &Receiver{name: name, config: c, env: env, hello: c.Hello, taken: map[string][]string{}}
	var err error
	if r.writer, err = words.NewWriter(name, "mail", c.Template, env); err != nil {
		return nil, err
	}
	if r.from, err = netmail.ParseAddress(c.From); err != nil {
		return nil, fmt.Errorf("read from: %w", err)
	}
	r.domain = r.from.Address[strings.LastIndexByte(r.from.Address, '@')+1:]
	if c.ReplyTo != "" {
		if r.replyTo, err = netmail.ParseAddress(c.ReplyTo); err != nil {
			return nil, fmt.Errorf("read reply_to: %w", err)
		}
	}
	for _, s := range c.To {
		a, err := netmail.ParseAddress(s)
		if err != nil {
			return nil, fmt.Errorf("read to: %w", err)
		}
		r.to = append(r.to, a)
	}
	if r.hello == "" {
		if r.hello, err = os.Hostname(); err != nil || r.hello == "" {
			r.hello = "localhost"
		}
	}
	if r.tls, err = c.TLS.TLS(); err != nil {
		return nil, err
	}
	if r.tls.ServerName == "" {
		r.tls.ServerName = c.Host
	}
	return r, nil
}

// Dedups implements notify.Notifier. Many mail systems fold mails of one Message-ID, but none has to.
func (r *Receiver) Dedups() bool { return false }

// Notify implements notify.Notifier.
func (r *Receiver) Notify(ctx context.Context, p *event.Page) (string, error) {
	all, err := r.recipients(p)
	if err != nil {
		err = notify.Permanent(err)
		if p.Person != "" {
			err = notify.Personal(err)
		}
		return "", err
	}
	d, failed := r.writer.Write(p)
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	open := slices.DeleteFunc(addresses(all), func(a string) bool { return slices.Contains(r.have(p.ID), a) })
	utf8 := strings.ContainsFunc(r.from.Address+strings.Join(open, ""), func(c rune) bool { return c >= 0x80 })
	out, err := r.give(ctx, open, utf8, r.compose(p, d.Message, all))
	if err != nil {
		err = fmt.Errorf("send mail: %w", err)
		if final(err, false) {
			err = notify.Permanent(err)
		}
		if out.whole || len(r.have(p.ID)) > 0 {
			err = notify.Unclear(err)
		} else {
			err = notify.NotArrived(err)
		}
		return words.Answer(oneLine(err.Error()), failed), err
	}
	return r.outcome(p, out, failed)
}

// recipients are whom a page goes to: its person, or those of the configuration.
func (r *Receiver) recipients(p *event.Page) ([]*netmail.Address, error) {
	if p.Person == "" {
		if len(r.to) == 0 {
			return nil, fmt.Errorf("send mail: the page is for nobody by name, and the receiver %s has no to", r.name)
		}
		return r.to, nil
	}
	c, ok := words.Person(p, r.env)
	if !ok {
		return nil, fmt.Errorf("send mail: nobody knows %s: write people: {%s: {mail: …}}", p.Person, p.Person)
	}
	text := words.Handle(c, r.name, "mail")
	if text == "" {
		text = c.Mail
	}
	if text == "" {
		return nil, fmt.Errorf("send mail: %s has no mail address: write people: {%s: {mail: …}}", p.Person, p.Person)
	}
	a, err := netmail.ParseAddress(text)
	if err != nil {
		return nil, fmt.Errorf("send mail: the mail address of %s cannot be read: %w", p.Person, err)
	}
	if a.Name == "" {
		a.Name = c.Name
	}
	return []*netmail.Address{a}, nil
}

func addresses(all []*netmail.Address) []string {
	out := make([]string, 0, len(all))
	for _, a := range all {
		if !slices.Contains(out, a.Address) {
			out = append(out, a.Address)
		}
	}
	return out
}

// outcome says what came of it: sent when everybody has the mail who can be reached at all; to be tried again when the
// server put somebody off; refused when nobody can be reached.
func (r *Receiver) outcome(p *event.Page, out sent, failed string) (string, error) {
	var putOff, refused []string
	for _, a := range slices.Sorted(maps.Keys(out.refused)) {
		said := fmt.Sprintf("%s: %s", a, oneLine(out.refused[a].Error()))
		if final(out.refused[a], true) {
			refused = append(refused, said)
		} else {
			putOff = append(putOff, said)
		}
	}
	answer := out.answer
	if len(refused) > 0 {
		answer = strings.TrimSpace(answer + " refused for " + strings.Join(refused, ", "))
	}
	answer = words.Answer(answer, failed)
	if len(putOff) > 0 {
		r.remember(p.ID, out.taken)
		err := fmt.Errorf("send mail: put off for %s (others who have it: %d)", strings.Join(putOff, ", "), len(r.have(p.ID)))
		if len(r.have(p.ID)) == 0 {
			err = notify.NotArrived(err)
		}
		return answer, err
	}
	some := len(out.taken) > 0 || len(r.have(p.ID)) > 0
	r.forget(p.ID)
	if !some {
		err := notify.Permanent(fmt.Errorf("send mail: %w: %s", errNobody, answer))
		if p.Person != "" {
			err = notify.Personal(err)
		}
		return answer, err
	}
	return answer, nil
}

var errNobody = errors.New("the server takes it for nobody")

// have are those who have a page already, of which others wait for it.
func (r *Receiver) have(page string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken[page]
}

func (r *Receiver) remember(page string, who []string) {
	if len(who) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.taken[page]; !known {
		r.order = append(r.order, page)
	}
	r.taken[page] = append(slices.Clone(r.taken[page]), who...)
	for len(r.order) > maxPartial {
		delete(r.taken, r.order[0])
		r.order = r.order[1:]
	}
}

func (r *Receiver) forget(page string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.taken[page]; known {
		delete(r.taken, page)
		r.order = slices.DeleteFunc(r.order, func(p string) bool { return p == page })
	}
}
