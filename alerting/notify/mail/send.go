package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	netmail "net/mail"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// sent is what came of giving one mail to the server.
type sent struct {
	answer  string           // The server's last word, when it took the mail.
	taken   []string         // The recipients it took the mail for.
	refused map[string]error // Those it did not.
	// whole says that the server had all of the mail, and that it may be on its way whatever became of the connection
	// (RFC 1047).
	whole bool
}

// quitPatience is how long the server may take to say goodbye after it took the mail.
const quitPatience = time.Second

// give opens a connection and gives one mail to the server, for as many of its recipients as the server takes. An error
// means that it took it for nobody.
func (r *Receiver) give(ctx context.Context, to []string, utf8 bool, mail io.WriterTo) (sent, error) {
	conn, err := r.dial(ctx)
	if err != nil {
		return sent{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // Whatever waits, fails.
	defer stop()
	out, client, err := r.transact(ctx, conn, to, utf8, mail)
	if err != nil && ctx.Err() != nil {
		return out, fmt.Errorf("%w (%w)", err, ctx.Err())
	}
	if err == nil && stop() {
		_ = conn.SetDeadline(time.Now().Add(quitPatience))
		_ = client.Quit() // The mail is the server's already.
	}
	return out, err
}

func (r *Receiver) dial(ctx context.Context) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.config.addr())
	if err != nil {
		return nil, fmt.Errorf("reach the mail server: %w", err)
	}
	conn = &bounded{Conn: conn, left: maxHeard}
	if r.config.Encryption != implicitTLS {
		return conn, nil
	}
	secure := tls.Client(conn, r.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("encrypt the connection to the mail server: %w", err)
	}
	return secure, nil
}

// maxHeard is how much a server may say about one mail, in bytes.
const maxHeard = 1 << 20

var errTalkative = errors.New("the mail server talks without end")

// bounded is a connection that hears so much and no more.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTalkative
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// transact speaks SMTP (RFC 5321): greeting, encryption, login, envelope, mail.
func (r *Receiver) transact(ctx context.Context, conn net.Conn, to []string, utf8 bool, mail io.WriterTo) (sent, *smtp.Client, error) {
	out := sent{refused: map[string]error{}}
	client, err := smtp.NewClient(conn, r.config.Host)
	if err != nil {
		return out, nil, session("greet the mail server", err)
	}
	// Without this every mail would ask for SMTPUTF8 where it is offered, and could not be passed on to servers without.
	client.SkipSMTPUTF8(!utf8)
	if err := client.Hello(r.hello); err != nil {
		return out, client, session("greet the mail server", err)
	}
	if err := r.encrypt(client); err != nil {
		return out, client, err
	}
	if err := r.login(client); err != nil {
		return out, client, err
	}
	if err := client.Mail(envelope(r.from.Address)); err != nil {
		return out, client, fmt.Errorf("name the sender %s: %w", r.from.Address, err)
	}
	for _, a := range to {
		if err := client.Rcpt(envelope(a)); err != nil {
			if out.refused[a] = err; !answered(err) {
				return out, client, fmt.Errorf("name the recipient %s: %w", a, err)
			}
			continue
		}
		out.taken = append(out.taken, a)
	}
	if len(out.taken) == 0 {
		return out, client, nil
	}
	taken := out.taken
	out.taken = nil // It is not until the server says so.
	body, err := client.Data()
	if err != nil {
		return out, client, fmt.Errorf("hand over the mail: %w", err)
	}
	if _, err := mail.WriteTo(body); err != nil {
		return out, client, fmt.Errorf("hand over the mail: %w", err) // The connection is closed in the midst of it: the server drops it.
	}
	if err := body.Close(); err != nil {
		out.whole = !answered(err)
		return out, client, fmt.Errorf("hand over the mail: %w", err)
	}
	if said, ok := body.(*smtp.DataCloser); ok {
		out.answer = oneLine("250 " + said.ServerResponse())
	}
	out.taken = taken
	return out, client, nil
}

// envelope writes an address as SMTP has it, its local part quoted when it has to be.
func envelope(address string) string { return (&netmail.Address{Address: address}).String() }

var errNoTLS = errors.New("the server does not offer STARTTLS: use encryption: tls if it encrypts from the start, or none if the way to it is safe")

func (r *Receiver) encrypt(client *smtp.Client) error {
	if r.config.Encryption != startTLS && r.config.Encryption != opportunistic {
		return nil
	}
	if offered, _ := client.Extension("STARTTLS"); !offered {
		if r.config.Encryption == opportunistic {
			return nil
		}
		return errNoTLS
	}
	if err := client.StartTLS(r.tls); err != nil {
		return session("encrypt the connection to the mail server", err)
	}
	return nil
}

func (r *Receiver) login(client *smtp.Client) error {
	if r.config.Username == "" {
		return nil
	}
	_, offered := client.Extension("AUTH")
	_, encrypted := client.TLSConnectionState()
	way := choose(r.config.Auth, strings.Fields(strings.ToLower(offered)), encrypted || local(r.config.Host))
	user, password := r.config.Username, r.config.Password.Reveal()
	var auth smtp.Auth
	switch way {
	case "scram-sha-256":
		auth = smtp.ScramSHA256Auth(user, password)
	case "scram-sha-1":
		auth = smtp.ScramSHA1Auth(user, password)
	case "plain":
		auth = smtp.PlainAuth("", user, password, r.config.Host, false)
	case "login":
		auth = smtp.LoginAuth(user, password, r.config.Host, false)
	case "cram-md5":
		auth = smtp.CRAMMD5Auth(user, password)
	default:
		return fmt.Errorf("log in to the mail server: it offers %q, and a password is shown to nobody on the way", oneLine(offered))
	}
	if err := client.Auth(auth); err != nil {
		return session("log in to the mail server by "+way, err)
	}
	return nil
}

// choose picks the way to log in: the one that is wished, or the best that is offered. Over a connection that others can
// read it is none that shows the password.
func choose(wish string, offered []string, safe bool) string {
	for _, way := range ways {
		if wish != "" && way != wish || !slices.Contains(offered, way) {
			continue
		}
		if safe || way != "plain" && way != "login" {
			return way
		}
	}
	return ""
}

// aboutUs is a refusal that says nothing of the mail: whoever runs the server or Kemi can correct what is wrong, and then
// the page arrives. Only what the server says to envelope and mail is final.
type aboutUs struct{ error }

func (a aboutUs) Unwrap() error { return a.error }

func session(doing string, err error) error { return aboutUs{fmt.Errorf("%s: %w", doing, err)} }

// answered reports whether the server said no, as opposed to nothing.
func answered(err error) bool {
	var said *textproto.Error
	return errors.As(err, &said)
}

// final reports whether trying again cannot help: an answer 5yz to envelope or mail (RFC 5321, 4.2.1). What RCPT says by
// 552 means that there were too many recipients at once (4.5.3.1.10), or that a mailbox is full.
func final(err error, recipient bool) bool {
	var us aboutUs
	var said *textproto.Error
	if errors.As(err, &us) || !errors.As(err, &said) {
		return false
	}
	return said.Code/100 == 5 && !(recipient && said.Code == 552) && said.Code != 530 // 530: it wants a login or encryption first.
}

// oneLine makes one bounded line of what a server said.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, ""), func(r rune) bool { return r <= ' ' || r == 0x7f || r >= 0x80 && r < 0xA0 }), " ")
	return s[:min(len(s), 300)]
}
