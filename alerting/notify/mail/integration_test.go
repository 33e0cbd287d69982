package mail

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/words"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/certs"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/pause"
)

// exim is a real mail server (Debian's exim4-daemon-light) that delivers everything into one folder.
type exim struct {
	dir           string
	port, tlsPort int
}

// need finds a program of a Debian package for make integration; without it the test is skipped, or with KEMI_CI=1 fails.
func need(t *testing.T, paths ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real programs; make integration runs it")
	}
	for _, path := range paths {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	if os.Getenv("KEMI_CI") == "1" {
		t.Fatalf("%s is missing: apt-get install exim4-daemon-light", paths[0])
	}
	t.Skipf("%s is missing: apt-get install exim4-daemon-light", paths[0])
	return ""
}

const eximConf = `
primary_hostname = mail.example
spool_directory = DIR/spool
log_file_path = DIR/log/%slog
pid_file_path = DIR/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = PORT : TLSPORT
tls_on_connect_ports = TLSPORT
exim_user = USER
exim_group = GROUP
tls_advertise_hosts = *
tls_certificate = DIR/cert.pem
tls_privatekey = DIR/key.pem
acl_smtp_mail = mail
acl_smtp_rcpt = rcpt
acl_smtp_data = data
keep_environment =
never_users =

begin acl
mail:
  deny senders = refused@*
       message = we know you
  accept
rcpt:
  deny local_parts = nobody
       message = no such user
  defer local_parts = grey
       condition = ${if exists{DIR/awake}{no}{yes}}
       message = greylisted
  deny local_parts = member
       !authenticated = *
       message = members only
  deny local_parts = safe
       !encrypted = *
       message = not over this connection
  accept
data:
  deny condition = ${if match{$h_subject:}{spam}}
       message = looks like spam
  accept

begin routers
all:
  driver = accept
  transport = box

begin transports
box:
  driver = appendfile
  directory = DIR/mail
  maildir_format
  envelope_to_add
  return_path_add

begin retry
* * F,1m,1s

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_advertise_condition = ${if def:tls_in_cipher}
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{kemi}}{eq{$auth3}{s3cret}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_advertise_condition = ${if def:tls_in_cipher}
  server_prompts = Username:: : Password::
  server_condition = ${if and{{eq{$auth1}{kemi}}{eq{$auth2}{s3cret}}}}
  server_set_id = $auth1
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${if eq{$auth1}{kemi}{s3cret}fail}
  server_set_id = $auth1
`

func startExim(t *testing.T, ca *brokers.CA) *exim {
	t.Helper()
	program := need(t, "exim4", "/usr/sbin/exim4")
	name := "Debian-exim"
	if os.Getuid() != 0 {
		me, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		name = me.Username
	}
	who, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(who.Uid)
	gid, _ := strconv.Atoi(who.Gid)
	e := &exim{dir: t.TempDir(), port: free(t), tlsPort: free(t)}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.Chmod(filepath.Dir(e.dir), 0o755)) // The server runs as another user.
	for _, sub := range []string{"spool", "log", "mail"} {
		check(os.Mkdir(filepath.Join(e.dir, sub), 0o755))
		check(os.Chown(filepath.Join(e.dir, sub), uid, gid))
	}
	cert, key := ca.Issue(t, brokers.Cert{Name: "mail"})
	for from, to := range map[string]string{cert: "cert.pem", key: "key.pem"} {
		text, err := os.ReadFile(from)
		check(err)
		check(os.WriteFile(filepath.Join(e.dir, to), text, 0o600))
		check(os.Chown(filepath.Join(e.dir, to), uid, gid))
	}
	text := strings.NewReplacer("DIR", e.dir, "TLSPORT", strconv.Itoa(e.tlsPort), "PORT", strconv.Itoa(e.port), "USER", who.Username, "GROUP", group(t, who)).Replace(eximConf)
	check(os.WriteFile(filepath.Join(e.dir, "conf"), []byte(text), 0o644))
	cmd := exec.Command(program, "-C", filepath.Join(e.dir, "conf"), "-bdf")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	check(cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			for _, log := range []string{"mainlog", "rejectlog", "paniclog"} {
				text, _ := os.ReadFile(filepath.Join(e.dir, "log", log))
				t.Logf("%s:\n%s%s", log, text, said.String())
			}
		}
	})
	e.wait(t, func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", e.port))
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return e
}

func group(t *testing.T, who *user.User) string {
	g, err := user.LookupGroupId(who.Gid)
	if err != nil {
		t.Fatal(err)
	}
	return g.Name
}

func free(t *testing.T) int {
	_, port, err := net.SplitHostPort(brokers.Address(t))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (e *exim) wait(t *testing.T, until func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !until(); {
		if time.Now().After(deadline) || !pause.For(t.Context(), 20*time.Millisecond) {
			t.Fatal("the mail server did not do it in time")
		}
	}
}

// arrived waits for so many mails and returns all, by whom they are for.
func (e *exim) arrived(t *testing.T, n int) map[string][]string {
	t.Helper()
	var files []os.DirEntry
	e.wait(t, func() bool {
		var err error
		if files, err = os.ReadDir(filepath.Join(e.dir, "mail", "new")); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return len(files) >= n
	})
	all := map[string][]string{}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(e.dir, "mail", "new", f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		m, err := netmail.ReadMessage(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		to := m.Header.Get("Envelope-To")
		all[to] = append(all[to], string(text))
	}
	return all
}

// TestIntegrationARealMailServerTakesOurPages gives pages to Exim: encrypted both ways, logged in every way it has, with
// recipients it does not know and others that it puts off, and reads what it delivered.
func TestIntegrationARealMailServerTakesOurPages(t *testing.T) {
	ca := brokers.NewCA(t)
	e := startExim(t, ca)
	here := conf.Pos{File: filepath.Join(e.dir, "kemi.yaml")}
	secure := func(c *Config) {
		c.Encryption, c.TLS = startTLS, certs.Client{At: here, CAFile: ca.File}
	}
	login := func(way string) func(*Config) {
		return func(c *Config) { c.Username, c.Password, c.Auth = "kemi", conf.NewSecret("s3cret"), way }
	}
	to := func(who ...string) func(*Config) { return func(c *Config) { c.To = who } }
	next := 0
	fresh := func() *event.Page {
		p := page(event.PageFiring)
		next++
		p.ID = "page-" + strconv.Itoa(next)
		return p
	}
	send := func(t *testing.T, p *event.Page, change ...func(*Config)) (string, error) {
		t.Helper()
		return receiver(t, e.port, change...).Notify(t.Context(), p)
	}

	t.Run("delivered as it was written", func(t *testing.T) {
		p := fresh()
		answer, err := send(t, p, secure, to("Jo <jo@example.org>", "sun@example.org"))
		if err != nil || !strings.HasPrefix(answer, "250 OK id=") {
			t.Fatalf("got %q, %v", answer, err)
		}
		mails := e.arrived(t, 2)
		h, parts := open(t, mails["jo@example.org"][0])
		said := words.Of(p, house())
		// The server ends lines as its system does; a mail's text is what is between them.
		if strings.TrimSpace(parts["text/plain"]) != strings.TrimSpace(said.Plain) || strings.TrimSpace(parts["text/html"]) != strings.TrimSpace(said.HTML) {
			t.Errorf("delivered is\n%s", mails["jo@example.org"][0])
		}
		if h.Get("Return-Path") != "<kemi@kemi.example>" || h.Get("Message-Id") != "<page."+p.ID+"@kemi.example>" || !strings.Contains(h.Get("Received"), "esmtps") {
			t.Errorf("headers are %v", h)
		}
	})
	for way, change := range map[string][]func(*Config){
		"plain": {secure, login("plain")}, "login": {secure, login("login")}, "cram-md5": {secure, login("cram-md5")}, "best": {secure, login("")},
		"cram-md5 unencrypted": {login("")},
		"implicit":             {secure, login(""), func(c *Config) { c.Encryption, c.Port = implicitTLS, e.tlsPort }},
	} {
		t.Run("login by "+way, func(t *testing.T) {
			if answer, err := send(t, fresh(), append(change, to("member@example.org"))...); err != nil {
				t.Errorf("got %q, %v", answer, err)
			}
		})
	}
	for name, c := range map[string]struct {
		change    []func(*Config)
		permanent bool
		says      string
	}{
		"wrong password":              {[]func(*Config){secure, login("plain"), func(c *Config) { c.Password = conf.NewSecret("wr0ng") }}, false, "535"},
		"not logged in":               {[]func(*Config){secure, to("member@example.org")}, true, "members only"},
		"not encrypted":               {[]func(*Config){to("safe@example.org")}, true, "not over this connection"},
		"nobody there":                {[]func(*Config){secure, to("nobody@example.org")}, true, "no such user"},
		"greylisted":                  {[]func(*Config){secure, to("grey@example.org")}, false, "greylisted"},
		"sender refused":              {[]func(*Config){secure, func(c *Config) { c.From = "refused@kemi.example" }}, true, "we know you"},
		"refused after DATA":          {[]func(*Config){secure, func(c *Config) { c.Template = &words.Templates{Subject: "spam"} }}, true, "looks like spam"},
		"another authority":           {[]func(*Config){secure, func(c *Config) { c.TLS.CAFile = brokers.NewCA(t).File }}, false, "unknown authority"},
		"TLS where there is none yet": {[]func(*Config){secure, func(c *Config) { c.Encryption = implicitTLS }}, false, "encrypt the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			answer, err := send(t, fresh(), c.change...)
			if err == nil || notify.IsPermanent(err) != c.permanent || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %q, %v, permanent %v", answer, err, notify.IsPermanent(err))
			}
		})
	}
	t.Run("one of three is unknown, one put off", func(t *testing.T) {
		p := fresh()
		n := receiver(t, e.port, secure, to("one@example.org", "nobody@example.org", "grey@example.org"))
		if _, err := n.Notify(t.Context(), p); err == nil || notify.IsPermanent(err) {
			t.Fatalf("got %v", err)
		}
		if err := os.WriteFile(filepath.Join(e.dir, "awake"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		answer, err := n.Notify(t.Context(), p)
		if err != nil || !strings.Contains(answer, "refused for nobody@example.org") {
			t.Fatalf("got %q, %v", answer, err)
		}
		mails := e.arrived(t, 2+6+2)
		if one, grey := mails["one@example.org"], mails["grey@example.org"]; len(one) != 1 || len(grey) != 1 {
			t.Errorf("%d mails for the one who was known, %d for the one who was put off", len(one), len(grey))
		}
	})
	t.Run("the story", func(t *testing.T) {
		before := 0
		for _, all := range e.arrived(t, 10) {
			before += len(all)
		}
		for _, kind := range []event.PageKind{event.PageFiring, event.PageUpdate, event.PageResolved} {
			if _, err := send(t, page(kind), secure, to("story@example.org")); err != nil {
				t.Fatal(err)
			}
		}
		story := e.arrived(t, before+3)["story@example.org"]
		slices.Sort(story)
		for _, text := range story {
			if h, _ := open(t, text); h.Get("References") != "<thread.k1@kemi.example>" {
				t.Errorf("%s is not in the thread", h.Get("Subject"))
			}
		}
		if testing.Verbose() && len(story) == 3 {
			t.Logf("a mail as it was delivered:\n%s", story[0])
		}
	})
}
