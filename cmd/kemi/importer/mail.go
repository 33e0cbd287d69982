package importer

import (
	netmail "net/mail"
	"strings"

	"kemi.dev/kemi/internal/conf"
)

// mail converts to Kemi's own mail, which has other keys and other words.
func (c *converter) mail(entries []entry, n conf.Node, path string) mapping {
	found := map[string]entry{}
	for _, e := range entries {
		if e.node.Kind() != conf.Null {
			found[e.key] = e
		}
	}
	text := func(key string) string { return found[key].node.Text() }
	refuse := func(key, do string) {
		if e, there := found[key]; there {
			c.note(e.node, e.path, "is not brought over", do)
		}
	}
	var out mapping
	host, port := text("smarthost"), ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host, port = strings.Trim(host[:i], "[]"), host[i+1:]
	}
	out.add("host", host)
	out.add("port", raw(port))
	if e := c.encryption(text, port); e != "starttls" {
		out.add("encryption", e)
	}
	if e, there := found["tls_config"]; there {
		out.add("tls", c.tls(e))
	}
	c.login(&out, found, n, path)
	if name := text("hello"); name != "" {
		out.add("hello", name)
	}
	if strings.Contains(text("from"), "{{") {
		refuse("from", "write one address that all mail is from")
	} else {
		out.add("from", text("from"))
	}
	if to, err := netmail.ParseAddressList(text("to")); err != nil {
		refuse("to", "write the addresses as a list; a receiver for each group of people, and a route to each")
	} else {
		var all []any
		for _, a := range to {
			if a.Name == "" {
				all = append(all, a.Address)
			} else {
				all = append(all, a.String())
			}
		}
		out.add("to", all)
	}
	c.mailWords(&out, found, refuse)
	if e, there := found["send_resolved"]; there && !truth(e.node.Text()) {
		c.note(e.node, e.path, "a resolve is always sent to whoever was told of the problem", "it is an answer in the same thread")
	}
	return out
}

// encryption is what Alertmanager does: TLS at once where it is told so or the port is 465, STARTTLS unless it is told not
// to ask for it.
func (c *converter) encryption(text func(string) string, port string) string {
	implicit := text("force_implicit_tls")
	switch {
	case truth(implicit), implicit == "" && port == "465":
		return "tls"
	case text("require_tls") != "" && !truth(text("require_tls")):
		return "none"
	default:
		return "starttls"
	}
}

// login converts name and password; Alertmanager takes another one, the secret, for CRAM-MD5.
func (c *converter) login(out *mapping, found map[string]entry, n conf.Node, path string) {
	name := found["auth_username"].node.Text()
	if name == "" {
		return
	}
	for _, from := range []string{"auth_password", "auth_secret"} {
		password, clear := found[from]
		file, inFile := found[from+"_file"]
		if !clear && !inFile {
			continue
		}
		out.add("username", name)
		if clear {
			stem := password
			stem.key = "password"
			out.add(c.secret(stem, password.node.Text(), true))
		} else {
			out.add("password_file", c.relocate(file.node.Text()))
		}
		if from == "auth_secret" {
			out.add("auth", "cram-md5")
		}
		if e, there := found["auth_identity"]; there {
			c.note(e.node, e.path, "is not brought over", "a name to act as besides the name that logs in is not sent")
		}
		return
	}
	c.note(n, path, "auth_username without a password is not brought over", "write username and password_file if the server wants them")
}

// mailWords brings over what is no template: those of Alertmanager's speak of groups of alerts, Kemi's of an incident.
func (c *converter) mailWords(out *mapping, found map[string]entry, refuse func(key, do string)) {
	const do = "mails have words of Kemi's; for your own write template: {subject: …, body: …, html: …}"
	refuse("html", do)
	refuse("text", do)
	headers := found["headers"]
	for _, e := range entriesOf(headers.node, headers.path, headers.stem) {
		text, plain := e.node.Text(), !strings.Contains(e.node.Text(), "{{")
		switch strings.ToLower(e.key) {
		case "subject":
			if plain {
				out.add("template", mapping{{key: "subject", value: text}})
				continue
			}
			c.note(e.node, e.path, "is not brought over", do)
		case "reply-to":
			if plain {
				out.add("reply_to", text)
				continue
			}
			c.note(e.node, e.path, "is not brought over", "write reply_to: and an address")
		default:
			c.note(e.node, e.path, "is not brought over", "mails have the headers that threads and mail clients need, and Reply-To by reply_to")
		}
	}
}
