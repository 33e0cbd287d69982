package mail

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/words"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/certs"
	"kemi.dev/kemi/internal/conf"
)

func page(kind event.PageKind) *event.Page {
	began := time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)
	i := &event.Incident{
		ID: "i1", Kind: event.IncidentDown, State: event.IncidentOpen, Team: "net", Cause: "core-1", Severity: "critical", OpenedAt: began,
		Title:  "core-1 (core) is down: Größe <b> 1 & 2",
		Alerts: []event.IncidentAlert{{Name: "TargetDown", Target: "core-1", State: event.AlertFiring, StartsAt: began, Description: ".\n.. dots\nfrom here on"}},
	}
	if kind == event.PageResolved {
		i.State, i.ResolvedAt, i.Title = event.IncidentResolved, began.Add(time.Minute), "core-1 (core) is up again after 1m0s"
	}
	return &event.Page{
		ID: "page-" + string(kind), Incident: "i1", Team: "net ops", Receiver: "mail", Kind: kind, Urgency: event.UrgencyPage, DedupKey: "k1", Title: i.Title,
		Snapshot: i, Created: began.Add(5 * time.Second),
	}
}

func house() notify.Env {
	return notify.Env{
		ExternalURL: "https://kemi.example", AckURL: func(p *event.Page) string { return "https://kemi.example/ack/" + p.ID },
		Contact: func(person string) (notify.Contact, bool) {
			switch person {
			case "jo":
				return notify.Contact{Name: "Jo Kim", Mail: "jo@example.org"}, true
			case "sun":
				return notify.Contact{Mail: "sun@example.org", Handles: map[string]conf.Secret{"mail": conf.NewSecret("sun@pager.example")}}, true
			case "lee":
				return notify.Contact{Phone: "1"}, true
			}
			return notify.Contact{}, false
		},
	}
}

// receiver writes to a@ and b@example.org by the fake, without encryption unless the test says otherwise.
func receiver(t *testing.T, port int, change ...func(*Config)) *Receiver {
	t.Helper()
	c := Default()
	c.Host, c.Port, c.Encryption = "127.0.0.1", port, unencrypted
	c.From, c.To, c.Timeout = "Kemi <kemi@kemi.example>", []string{"a@example.org", "Bee <b@example.org>"}, 5*time.Second
	for _, f := range change {
		f(&c)
	}
	if said := c.Validate(); len(said) > 0 {
		t.Fatal(said)
	}
	n, err := New("mail", c, house())
	if err != nil {
		t.Fatal(err)
	}
	return n.(*Receiver)
}

// open reads a mail as a mail program does: its headers, and its parts by type.
func open(t *testing.T, text string) (h netmail.Header, parts map[string]string) {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	parts = map[string]string{}
	add := func(kind, encoding string, r io.Reader) {
		kind, _, err := mime.ParseMediaType(kind)
		if err != nil {
			t.Fatal(err)
		}
		if encoding == "quoted-printable" {
			r = quotedprintable.NewReader(r)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		parts[kind] = strings.ReplaceAll(string(body), "\r\n", "\n")
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(kind, "multipart/") {
		add(m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Body)
		return m.Header, parts
	}
	parts["type"] = kind
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return m.Header, parts
		}
		if err != nil {
			t.Fatal(err)
		}
		add(p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p)
	}
}

func TestAPageIsAMailWithTextAndHTML(t *testing.T) {
	f := serve(t)
	p := page(event.PageFiring)
	answer, err := receiver(t, f.port).Notify(t.Context(), p)
	if err != nil || answer != "250 2.0.0 queued as 4711" {
		t.Fatalf("got %q, %v", answer, err)
	}
	mails := f.took()
	if len(mails) != 1 || mails[0].from != "<kemi@kemi.example>" || strings.Join(mails[0].to, " ") != "<a@example.org> <b@example.org>" {
		t.Fatalf("the fake took %+v", mails)
	}
	h, parts := open(t, mails[0].text)
	said := words.Of(p, house())
	if d := cmp.Diff(map[string]string{"type": "multipart/alternative", "text/plain": said.Plain, "text/html": said.HTML}, parts); d != "" {
		t.Error(d)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(h.Get("Subject"))
	if err != nil || subject != said.Subject || !strings.Contains(subject, "Größe") {
		t.Errorf("the subject is %q", subject)
	}
	for name, want := range map[string]string{
		"From": `"Kemi" <kemi@kemi.example>`, "To": `<a@example.org>, "Bee" <b@example.org>`, "Message-Id": "<page.page-firing@kemi.example>",
		"In-Reply-To": "<thread.k1@kemi.example>", "References": "<thread.k1@kemi.example>", "Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All",
		"List-Id": "<net-ops.kemi.kemi.example>", "X-Kemi-Incident": "i1", "X-Kemi-Kind": "firing", "X-Kemi-Severity": "critical", "Importance": "high", "X-Msmail-Priority": "",
		"Date": "Sat, 21 Nov 2026 22:00:05 +0000",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s is %q; want %q", name, got, want)
		}
	}
}

// The pages of an incident are one thread; a page that is sent again is the same mail.
func TestPagesOfAnIncidentAreOneThreadAndARetryIsTheSameMail(t *testing.T) {
	f := serve(t)
	n := receiver(t, f.port)
	for _, p := range []*event.Page{page(event.PageFiring), page(event.PageFiring), page(event.PageResolved)} {
		if _, err := n.Notify(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	var ids, refs []string
	for _, m := range f.took() {
		h, _ := open(t, m.text)
		ids, refs = append(ids, h.Get("Message-Id")), append(refs, h.Get("References"))
	}
	if len(ids) != 3 || ids[0] != ids[1] || ids[0] == ids[2] || refs[0] != refs[2] || refs[0] == ids[0] {
		t.Errorf("mails %v refer to %v", ids, refs)
	}
	if n.Dedups() {
		t.Error("mail systems need not fold")
	}
}

func TestAPersonGetsTheMailAtTheirAddressOrNobodyDoes(t *testing.T) {
	f := serve(t)
	n := receiver(t, f.port)
	for person, want := range map[string]string{"jo": "<jo@example.org>", "sun": "<sun@pager.example>"} {
		p := page(event.PageFiring)
		p.Person = person
		if _, err := n.Notify(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		mails := f.took()
		if got := strings.Join(mails[len(mails)-1].to, " "); got != want {
			t.Errorf("%s: %s", person, got)
		}
	}
	for _, person := range []string{"lee", "gone"} {
		p := page(event.PageFiring)
		p.Person = person
		if _, err := n.Notify(t.Context(), p); !notify.IsPermanent(err) || !strings.Contains(err.Error(), person) {
			t.Errorf("%s: %v", person, err)
		}
	}
	alone := receiver(t, f.port, func(c *Config) { c.To = nil })
	if _, err := alone.Notify(t.Context(), page(event.PageFiring)); !notify.IsPermanent(err) {
		t.Errorf("for nobody: %v", err)
	}
	if got := len(f.took()); got != 2 {
		t.Errorf("%d mails", got)
	}
}

// One address that the server does not know, or puts off, keeps the mail from nobody else; nobody gets it twice for that.
func TestOneRecipientOfTwo(t *testing.T) {
	p := page(event.PageFiring)
	t.Run("refused", func(t *testing.T) {
		f := serve(t, func(f *fake) { f.say["RCPT b@example.org"] = "550 5.1.1 no such user" })
		answer, err := receiver(t, f.port).Notify(t.Context(), p)
		if err != nil || !strings.Contains(answer, "queued as 4711 refused for b@example.org: 550 \"5.1.1 no such user\"") {
			t.Errorf("got %q, %v", answer, err)
		}
		if mails := f.took(); len(mails) != 1 || strings.Join(mails[0].to, " ") != "<a@example.org>" {
			t.Errorf("the fake took %+v", mails)
		}
	})
	t.Run("put off", func(t *testing.T) {
		f := serve(t, func(f *fake) { f.say["RCPT b@example.org"] = "451 4.7.1 greylisted" })
		n := receiver(t, f.port)
		for range 2 {
			if _, err := n.Notify(t.Context(), p); err == nil || notify.IsPermanent(err) || !strings.Contains(err.Error(), "b@example.org: 451 \"4.7.1 greylisted\"") || !strings.Contains(err.Error(), "others who have it: 1") || notify.ArrivalOf(err) != event.ArrivalUnknown {
				t.Fatalf("got %v", err)
			}
		}
		f.will("RCPT b@example.org", "")
		if _, err := n.Notify(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		mails := f.took()
		if len(mails) != 2 || strings.Join(mails[0].to, " ") != "<a@example.org>" || strings.Join(mails[1].to, " ") != "<b@example.org>" || len(n.taken) > 0 || len(n.order) > 0 {
			t.Errorf("the fake took %+v, remembered are %v", mails, n.taken)
		}
	})
	t.Run("put off, then refused", func(t *testing.T) {
		f := serve(t, func(f *fake) { f.say["RCPT b@example.org"] = "451 4.7.1 greylisted" })
		n := receiver(t, f.port)
		if _, err := n.Notify(t.Context(), p); err == nil {
			t.Fatal("no error")
		}
		f.will("RCPT b@example.org", "550 5.1.1 no such user")
		if answer, err := n.Notify(t.Context(), p); err != nil || !strings.Contains(answer, "refused for b@") {
			t.Errorf("got %q, %v: a has it", answer, err)
		}
	})
	t.Run("all refused", func(t *testing.T) {
		f := serve(t, func(f *fake) {
			f.say["RCPT a@example.org"], f.say["RCPT b@example.org"] = "550 5.1.1 no such user", "550 5.7.1 relay denied"
		})
		if _, err := receiver(t, f.port).Notify(t.Context(), p); !notify.IsPermanent(err) || !strings.Contains(err.Error(), "relay denied") {
			t.Errorf("got %v", err)
		}
	})
}

func TestAnswersDecideWhetherToTryAgain(t *testing.T) {
	for at, c := range map[string]struct {
		say       string
		permanent bool
	}{
		"greeting":           {"554 5.3.2 no service", false},
		"EHLO":               {"421 4.3.2 shutting down", false},
		"MAIL":               {"550 5.7.1 sender refused", true},
		"MAIL ":              {"451 4.3.0 try later", false},
		"MAIL  ":             {"530 5.7.0 must issue STARTTLS first", false},
		"RCPT a@example.org": {"552 5.5.3 too many recipients", false},
		"DATA":               {"554 5.5.1 no", true},
		"DATA ":              {"452 4.3.1 no space", false},
		"BODY":               {"554 5.7.1 spam", true},
		"BODY ":              {"452 4.3.1 no space", false},
		"QUIT":               {"421 4.4.2 too late", false},
	} {
		t.Run(at+c.say, func(t *testing.T) {
			f := serve(t, func(f *fake) { f.say[strings.TrimRight(at, " ")] = c.say })
			_, err := receiver(t, f.port, func(c *Config) { c.To = c.To[:1] }).Notify(t.Context(), page(event.PageFiring))
			if at == "QUIT" { // The mail is the server's by then.
				if err != nil || len(f.took()) != 1 {
					t.Errorf("got %v", err)
				}
				return
			}
			if notify.ArrivalOf(err) != event.NotArrived || notify.IsPermanent(err) != c.permanent || !strings.Contains(err.Error(), c.say[4:]) {
				t.Errorf("got %v, permanent %v", err, notify.IsPermanent(err))
			}
			if len(f.took()) > 0 {
				t.Error("it was taken")
			}
		})
	}
}

// A server that hangs or closes at any step costs no more than the timeout, and the page is tried again; after it took the
// mail nothing it does matters.
func TestAServerThatHangsOrCloses(t *testing.T) {
	for _, at := range []string{"greeting", "EHLO", "MAIL", "RCPT a@example.org", "DATA", "BODY", "QUIT"} {
		for _, what := range []string{"hang", "close"} {
			t.Run(at+" "+what, func(t *testing.T) {
				t.Parallel()
				f := serve(t, func(f *fake) { f.say[at] = what })
				began := time.Now()
				_, err := receiver(t, f.port, func(c *Config) { c.Timeout = 300 * time.Millisecond }).Notify(t.Context(), page(event.PageFiring))
				if at == "QUIT" {
					if err != nil || len(f.took()) != 1 {
						t.Errorf("got %v", err)
					}
				} else if err == nil || notify.IsPermanent(err) || what == "hang" && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				} else if whole := at == "BODY"; whole != (notify.ArrivalOf(err) == event.ArrivalUnknown) { // The server had all of it.
					t.Errorf("it is %s: %v", notify.ArrivalOf(err), err)
				}
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		}
	}
	gone := serve(t)
	n := receiver(t, gone.port, func(c *Config) { c.Port = 1 })
	if _, err := n.Notify(t.Context(), page(event.PageFiring)); notify.ArrivalOf(err) != event.NotArrived || notify.IsPermanent(err) || !strings.Contains(err.Error(), "reach the mail server") {
		t.Errorf("nobody there: %v", err)
	}
}

func TestEncryption(t *testing.T) {
	ca, stranger := brokers.NewCA(t), brokers.NewCA(t)
	here := conf.Pos{File: filepath.Join(t.TempDir(), "kemi.yaml")}
	good := brokers.Cert{Name: "mail"}
	for name, c := range map[string]struct {
		cert       brokers.Cert
		implicit   bool
		encryption string
		trust      *brokers.CA
		name       string
		err        string
		plain      bool
	}{
		"starttls":                    {cert: good, encryption: startTLS, trust: ca},
		"from the first byte":         {cert: good, implicit: true, encryption: implicitTLS, trust: ca},
		"opportunistic":               {cert: good, encryption: opportunistic, trust: ca},
		"opportunistic, plain":        {encryption: opportunistic, trust: ca, plain: true},
		"not offered":                 {encryption: startTLS, trust: ca, err: "does not offer STARTTLS"},
		"another authority":           {cert: good, encryption: startTLS, trust: stranger, err: "unknown authority"},
		"opportunistic is no excuse":  {cert: good, encryption: opportunistic, trust: stranger, err: "unknown authority"},
		"implicit, another authority": {cert: good, implicit: true, encryption: implicitTLS, trust: stranger, err: "unknown authority"},
		"another host":                {cert: brokers.Cert{Name: "x", Hosts: []string{"mail.example"}}, encryption: startTLS, trust: ca, err: "127.0.0.1"},
		"another host, named":         {cert: brokers.Cert{Name: "x", Hosts: []string{"mail.example"}}, encryption: startTLS, trust: ca, name: "mail.example"},
		"expired":                     {cert: brokers.Cert{Name: "x", NotAfter: time.Now().Add(-time.Hour)}, encryption: startTLS, trust: ca, err: "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, func(f *fake) {
				if c.cert.Name != "" {
					withTLS(t, ca, c.cert, c.implicit)(f)
				}
			})
			n := receiver(t, f.port, func(cfg *Config) {
				cfg.Encryption, cfg.TLS = c.encryption, certs.Client{At: here, CAFile: c.trust.File, ServerName: c.name}
			})
			_, err := n.Notify(t.Context(), page(event.PageFiring))
			if c.err == "" && err != nil || c.err != "" && (err == nil || notify.IsPermanent(err) || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("got %v; want %q", err, c.err)
			}
			if mails := f.took(); c.err == "" && (len(mails) != 1 || mails[0].secure == c.plain) || c.err != "" && len(mails) > 0 {
				t.Errorf("the fake took %+v", mails)
			}
		})
	}
}

func TestLogin(t *testing.T) {
	ca := brokers.NewCA(t)
	here := conf.Pos{File: filepath.Join(t.TempDir(), "kemi.yaml")}
	all := []string{"login", "plain", "cram-md5", "scram-sha-1", "scram-sha-256"}
	for name, c := range map[string]struct {
		offered  []string
		wish     string
		password string
		want     string
		err      string
	}{
		"the best":        {offered: all, want: "scram-sha-256"},
		"the next":        {offered: all[:4], want: "scram-sha-1"},
		"plain":           {offered: all[:3], want: "plain"},
		"login":           {offered: all[:1], want: "login"},
		"cram":            {offered: []string{"cram-md5"}, want: "cram-md5"},
		"as wished":       {offered: all, wish: "login", want: "login"},
		"wrong password":  {offered: all, password: "wr0ng", err: "scram-sha-256"},
		"wrong for login": {offered: all, wish: "login", password: "wr0ng", err: "credentials invalid"},
		"not offered":     {offered: []string{"gssapi"}, err: "it offers"},
		"no login":        {err: "it offers"},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, withTLS(t, ca, brokers.Cert{Name: "mail"}, false), func(f *fake) { f.auth = c.offered })
			n := receiver(t, f.port, func(cfg *Config) {
				cfg.Encryption, cfg.TLS = startTLS, certs.Client{At: here, CAFile: ca.File}
				cfg.Username, cfg.Password, cfg.Auth = "kemi", conf.NewSecret("s3cret"), c.wish
				if c.password != "" {
					cfg.Password = conf.NewSecret(c.password)
				}
			})
			answer, err := n.Notify(t.Context(), page(event.PageFiring))
			if c.err == "" && err != nil || c.err != "" && (err == nil || notify.IsPermanent(err) || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("got %q, %v; want %q", answer, err, c.err)
			}
			if err != nil && strings.Contains(err.Error(), "wr0ng") {
				t.Errorf("the error tells the password: %v", err)
			}
			if mails := f.took(); c.err == "" && (len(mails) != 1 || mails[0].login != c.want) {
				t.Errorf("the fake took %+v", mails)
			}
		})
	}
}

// A password is shown to nobody who listens, whatever the server offers.
func TestNoPasswordOverAConnectionThatOthersRead(t *testing.T) {
	if got := choose("", []string{"plain", "login"}, false); got != "" {
		t.Errorf("plain or login: %q", got)
	}
	if got := choose("", []string{"plain", "login", "cram-md5"}, false); got != "cram-md5" {
		t.Errorf("got %q", got)
	}
	if got := choose("plain", []string{"plain", "cram-md5"}, false); got != "" {
		t.Errorf("as wished: %q", got)
	}
}

// SMTPUTF8 is asked for only when an address needs it: a server further on may not have it.
func TestSMTPUTF8OnlyWhenAnAddressNeedsIt(t *testing.T) {
	f := serve(t, func(f *fake) { f.utf8 = true })
	for _, to := range []string{"a@example.org", "größe@example.org"} {
		if _, err := receiver(t, f.port, func(c *Config) { c.To = []string{to} }).Notify(t.Context(), page(event.PageFiring)); err != nil {
			t.Fatal(err)
		}
	}
	if mails := f.took(); strings.Contains(mails[0].from, "SMTPUTF8") || !strings.Contains(mails[1].from, "SMTPUTF8") {
		t.Errorf("the fake took %+v", mails)
	}
}

func TestATemplateThatFailsIsReplacedAndTold(t *testing.T) {
	f := serve(t)
	n := receiver(t, f.port, func(c *Config) {
		c.Template = &words.Templates{Subject: "{{ .Title }}\r\nBcc: all@example.org", Body: `{{ if eq .Page.ID "page-firing" }}{{ index .Incident.Alerts 7 }}{{ end }}mine`}
	})
	for kind, want := range map[event.PageKind]string{event.PageFiring: "A template of the receiver mail failed", event.PageResolved: "mine"} {
		answer, err := n.Notify(t.Context(), page(kind))
		if err != nil || strings.Contains(answer, "failed") != (kind == event.PageFiring) {
			t.Errorf("got %q, %v", answer, err)
		}
		mails := f.took()
		h, parts := open(t, mails[len(mails)-1].text)
		if !strings.Contains(parts["text/plain"], want) || h.Get("Bcc") != "" {
			t.Errorf("%s: %v in\n%s", kind, h, parts["text/plain"])
		}
	}
}

// What is in a page, or in the names of a configuration, makes no header and no command of its own.
func TestNothingInAPageMakesAHeader(t *testing.T) {
	f := serve(t)
	const evil = "x\r\nBcc: all@example.org\r\n\r\n.\r\nMAIL FROM:<evil@example.org>"
	p := page(event.PageFiring)
	p.ID, p.Incident, p.DedupKey, p.Team, p.Title, p.Snapshot.Severity, p.Snapshot.Title = evil, evil, evil, evil, evil, evil, evil
	if _, err := receiver(t, f.port).Notify(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	mails := f.took()
	if h, _ := open(t, mails[0].text); len(mails) != 1 || h.Get("Bcc") != "" || h.Get("Message-Id") != "<page."+token(evil)+"@kemi.example>" {
		t.Errorf("headers are %v", h)
	}
}
