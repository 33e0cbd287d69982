package mail

import (
	"bufio"
	"crypto/hmac"
	"crypto/md5"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/xdg-go/scram"

	"kemi.dev/kemi/internal/brokers"
)

// fake is a strict SMTP server of the test (RFC 5321): it takes commands in their order only, with line ends as they have
// to be, and does at any of them what the test asks for.
type fake struct {
	t    *testing.T
	port int

	// What it offers.
	tls      *tls.Config // For STARTTLS, or from the first byte.
	implicit bool
	auth     []string // Ways to log in as kemi with the password s3cret.
	utf8     bool
	// What it answers instead, by command ("greeting", "EHLO", "RCPT b@example.org", "BODY"…): a line; "hang" and "close" are
	// done.
	say map[string]string

	quit  chan struct{}
	mu    sync.Mutex
	mails []taken
	wrong []string // What the client did that it must not.
	heard []string
}

// taken is a mail that the fake took.
type taken struct {
	from, login string
	to          []string
	secure      bool
	text        string
}

func serve(t *testing.T, change ...func(*fake)) *fake {
	t.Helper()
	f := &fake{t: t, say: map[string]string{}, quit: make(chan struct{})}
	for _, c := range change {
		c(f)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.port = ln.Addr().(*net.TCPAddr).Port
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer conn.Close()
				s := &dialogue{fake: f, conn: conn}
				if f.implicit {
					s.conn, s.secure = tls.Server(conn, f.tls), true
				}
				s.in = bufio.NewReader(s.conn)
				s.run()
			})
		}
	})
	t.Cleanup(func() {
		close(f.quit)
		_ = ln.Close()
		open.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, w := range f.wrong {
			t.Error("the client did wrong: " + w)
		}
	})
	return f
}

// withTLS gives the fake a certificate.
func withTLS(t *testing.T, ca *brokers.CA, c brokers.Cert, implicit bool) func(*fake) {
	return func(f *fake) {
		cert, key := ca.Issue(t, c)
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		f.tls, f.implicit = &tls.Config{Certificates: []tls.Certificate{pair}}, implicit
	}
}

// will changes what it answers at a command from now on.
func (f *fake) will(at, say string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.say[at] = say
}

func (f *fake) took() []taken {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]taken(nil), f.mails...)
}

// dialogue is one connection.
type dialogue struct {
	*fake
	conn    net.Conn
	in      *bufio.Reader
	secure  bool
	hello   bool
	login   string
	mail    *taken
	stopped bool
}

func (s *dialogue) blame(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

// reply says a line, unless the test wants something else at this command; false means that it is not to be done.
func (s *dialogue) reply(at, line string) bool {
	s.mu.Lock()
	other := s.say[at]
	s.mu.Unlock()
	switch other {
	case "":
		fmt.Fprintf(s.conn, "%s\r\n", line)
		return line[0] < '4'
	case "hang":
		<-s.quit
		s.stopped = true
	case "close":
		s.stopped = true
	default:
		fmt.Fprintf(s.conn, "%s\r\n", other)
		return other[0] < '4'
	}
	return false
}

func (s *dialogue) line() (string, bool) {
	line, err := s.in.ReadString('\n')
	if err != nil {
		return "", false
	}
	if !strings.HasSuffix(line, "\r\n") {
		s.blame("a line ends without CR: %q", line)
	}
	if len(line) > 1000 {
		s.blame("a line of %d bytes", len(line))
	}
	return strings.TrimRight(line, "\r\n"), true
}

func (s *dialogue) run() {
	s.reply("greeting", "220 fake.example ESMTP")
	for !s.stopped {
		line, ok := s.line()
		if !ok {
			return
		}
		s.mu.Lock()
		s.heard = append(s.heard, line)
		s.mu.Unlock()
		verb, rest, _ := strings.Cut(line, " ")
		s.command(strings.ToUpper(verb), rest)
	}
}

func (s *dialogue) command(verb, rest string) {
	if !s.hello && verb != "EHLO" && verb != "HELO" && verb != "QUIT" {
		s.blame("%s before EHLO", verb)
	}
	switch verb {
	case "EHLO":
		s.hello = true
		lines := []string{"fake.example greets " + rest, "8BITMIME", "ENHANCEDSTATUSCODES"}
		if s.tls != nil && !s.secure {
			lines = append(lines, "STARTTLS")
		}
		if len(s.auth) > 0 {
			lines = append(lines, "AUTH "+strings.ToUpper(strings.Join(s.auth, " ")))
		}
		if s.utf8 {
			lines = append(lines, "SMTPUTF8")
		}
		s.reply("EHLO", "250-"+strings.Join(lines, "\r\n250-")+"\r\n250 PIPELINING")
	case "HELO": // Whoever is refused at EHLO may ask so.
		s.reply("EHLO", "250 fake.example")
	case "STARTTLS":
		if s.reply("STARTTLS", "220 go ahead") {
			secure := tls.Server(s.conn, s.tls)
			s.conn, s.in, s.secure, s.hello = secure, bufio.NewReader(secure), true, false
		}
	case "AUTH":
		s.authenticate(rest)
	case "MAIL":
		if s.mail != nil || len(s.auth) > 0 && s.login == "" {
			s.blame("MAIL out of turn")
		}
		from, params, _ := strings.Cut(strings.TrimPrefix(rest, "FROM:"), " ")
		if strings.Contains(params, "SMTPUTF8") {
			from += " SMTPUTF8"
		}
		if s.reply("MAIL", "250 2.1.0 sender ok") {
			s.mail = &taken{from: from, login: s.login, secure: s.secure}
		}
	case "RCPT":
		to := strings.TrimPrefix(rest, "TO:")
		if s.mail == nil || !strings.HasPrefix(to, "<") || !strings.HasSuffix(to, ">") {
			s.blame("RCPT %s out of turn", rest)
		} else if s.reply("RCPT "+strings.Trim(to, "<>"), "250 2.1.5 recipient ok") {
			s.mail.to = append(s.mail.to, to)
		}
	case "DATA":
		if s.mail == nil || len(s.mail.to) == 0 {
			s.blame("DATA without a recipient")
		}
		if s.reply("DATA", "354 go ahead") {
			s.body()
		}
	case "QUIT":
		s.reply("QUIT", "221 bye")
		s.stopped = true
	case "*":
		fmt.Fprint(s.conn, "501 aborted\r\n")
	default:
		s.blame("unknown command %s", verb)
		fmt.Fprint(s.conn, "500 what?\r\n")
	}
}

func (s *dialogue) body() {
	var b strings.Builder
	for {
		line, ok := s.line()
		if !ok {
			return
		}
		if line == "." {
			break
		}
		b.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
	}
	s.mail.text = b.String()
	if s.reply("BODY", "250 2.0.0 queued as 4711") {
		s.fake.mu.Lock()
		s.mails = append(s.mails, *s.mail)
		s.fake.mu.Unlock()
	}
	s.mail = nil
}

// authenticate takes a login as its mechanism has it: RFC 4616, 2195, 5802, and LOGIN as everybody does it.
func (s *dialogue) authenticate(rest string) {
	way, first, _ := strings.Cut(rest, " ")
	way = strings.ToLower(way)
	ask := func(challenge string) string {
		fmt.Fprintf(s.conn, "334 %s\r\n", base64.StdEncoding.EncodeToString([]byte(challenge)))
		line, _ := s.line()
		text, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			s.blame("login %s: %q is no base64", way, line)
		}
		return string(text)
	}
	initial, _ := base64.StdEncoding.DecodeString(first)
	good := false
	switch way {
	case "plain":
		good = string(initial) == "\x00kemi\x00s3cret"
	case "login":
		user := ask("Username:")
		good = user == "kemi" && ask("Password:") == "s3cret"
	case "cram-md5":
		const challenge = "<1.2@fake.example>"
		mac := hmac.New(md5.New, []byte("s3cret"))
		mac.Write([]byte(challenge))
		good = ask(challenge) == "kemi "+hex.EncodeToString(mac.Sum(nil))
	case "scram-sha-256", "scram-sha-1":
		good = s.scram(way, string(initial), ask)
	default:
		s.blame("login by %s", way)
	}
	if !good {
		fmt.Fprint(s.conn, "535 5.7.8 credentials invalid\r\n")
		return
	}
	if s.reply("AUTH", "235 2.7.0 welcome") {
		s.login = way
	}
}

func (s *dialogue) scram(way, initial string, ask func(string) string) bool {
	hash := scram.SHA256
	if way == "scram-sha-1" {
		hash = scram.SHA1
	}
	client, err := hash.NewClient("kemi", "s3cret", "")
	if err != nil {
		s.blame("scram: %v", err)
		return false
	}
	stored := client.GetStoredCredentials(scram.KeyFactors{Salt: "salt of the fake", Iters: 4096})
	server, err := hash.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	if err != nil {
		s.blame("scram: %v", err)
		return false
	}
	talk := server.NewConversation()
	if initial == "" {
		initial = ask("")
	}
	first, err := talk.Step(initial)
	if err != nil {
		return false
	}
	last, err := talk.Step(ask(first))
	if err != nil || !talk.Valid() {
		return false
	}
	ask(last)
	return true
}
