package importer

import (
	"reflect"
	"slices"
	"strings"

	commoncfg "github.com/prometheus/common/config"
)

// webhook converts to Kemi's own webhook, whose body is Alertmanager's and whose other keys are not.
func (c *converter) webhook(entries []entry) mapping {
	var out mapping
	for _, e := range entries {
		text := e.node.Text()
		switch e.key {
		case "url":
			if strings.Contains(text, "{{") {
				c.note(e.node, e.path, "a URL is not a template", "write one webhook for each URL, and a route to each")
			}
			out.add(c.secret(e, text, true))
		case "url_file":
			out.add(e.key, c.relocate(text))
		case "timeout":
			out.add("timeout", c.timeout(e.node, e.path, text))
		case "http_config":
			out = append(out, c.webhookClient(e)...)
		case "send_resolved":
			if !truth(text) {
				c.note(e.node, e.path, "a resolve is always sent to a webhook that was told of the problem", "ignore requests with status resolved")
			}
		case "max_alerts":
			if text != "0" {
				c.note(e.node, e.path, "is not brought over", "a page holds the first alerts of one incident")
			}
		case "payload":
			c.note(e.node, e.path, "a payload of one's own is not brought over", "read Alertmanager's payload, version 4, or use a receiver of kind http, whose body is a template")
		}
	}
	return out
}

// webhookClient converts http_config.
func (c *converter) webhookClient(from entry) mapping {
	refuse := func(key, do string) {
		c.note(from.node.Get(key), from.path+"."+key, "is not brought over", do)
	}
	var all []entry
	for _, e := range entriesOf(from.node, from.path, from.stem) {
		switch e.key {
		case "authorization":
			if kind := e.node.Get("type").Text(); kind != "" && !strings.EqualFold(strings.TrimSpace(kind), "bearer") {
				refuse(e.key, `write headers: {Authorization: "`+kind+` ${VARIABLE}"}`)
				continue
			}
		case "basic_auth":
			if e.node.Get("username").IsZero() || !e.node.Get("password_ref").IsZero() {
				refuse(e.key, "write username and password_file under basic_auth")
				continue
			}
		case "bearer_token", "bearer_token_file", "tls_config", "http_headers":
		case "enable_http2", "proxy_from_environment": // As Kemi does anyway.
			continue
		case "follow_redirects":
			if truth(e.node.Text()) {
				refuse(e.key, "give the URL that it leads to: a POST that is sent elsewhere is not delivered")
			}
			continue
		default:
			refuse(e.key, "set HTTP_PROXY or HTTPS_PROXY for a proxy; put a reverse proxy before the server for anything else")
			continue
		}
		all = append(all, e)
	}
	var out mapping
	for _, e := range all {
		switch e.key {
		case "http_headers":
			c.webhookHeaders(&out, e)
		case "tls_config":
			out.add("tls", c.tls(e))
		}
	}
	all = slices.DeleteFunc(all, func(e entry) bool { return e.key == "http_headers" || e.key == "tls_config" })
	for _, p := range c.settings(all, reflect.TypeFor[commoncfg.HTTPClientConfig](), false) {
		if below, _ := p.value.(mapping); p.key == "authorization" {
			for _, suffix := range []string{"", "_file"} {
				out.add("bearer_token"+suffix, below.get("credentials"+suffix))
			}
			continue
		}
		out.add(p.key, p.value)
	}
	return out
}

// tls converts a tls_config to what Kemi's own receivers take; nil when nothing is left of it.
func (c *converter) tls(e entry) any {
	known := []string{"ca_file", "cert_file", "key_file", "server_name"}
	var kept mapping
	for _, p := range c.settings(entriesOf(e.node, e.path, e.stem), reflect.TypeFor[commoncfg.TLSConfig](), false) {
		switch {
		case slices.Contains(known, p.key):
			kept.add(p.key, p.value)
		case p.key == "insecure_skip_verify" && p.value == false:
		case p.key == "insecure_skip_verify":
			c.note(e.node.Get(p.key), e.path+"."+p.key, "is not brought over", "a server whose certificate nobody checks is not told secrets: give its authority as ca_file")
		default:
			c.note(e.node.Get(p.key), e.path+"."+p.key, "is not brought over", "what can be set under tls is "+strings.Join(known, ", "))
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return kept
}

// webhookHeaders converts headers; each has one value with Kemi.
func (c *converter) webhookHeaders(out *mapping, from entry) {
	headers := mapping{}
	for _, name := range from.node.Keys() {
		path, header := from.path+"."+name.Text(), from.node.Get(name.Text())
		values, secrets, files := header.Get("values").Items(), header.Get("secrets").Items(), header.Get("files").Items()
		switch {
		case len(values)+len(secrets)+len(files) != 1 || len(files) > 0:
			c.note(name, path, "is not brought over", "give the header one value, from the environment if it is secret: \"${VARIABLE}\"")
		case len(values) == 1:
			headers.add(name.Text(), values[0].Text())
		default:
			headers.add(c.secret(entry{name.Text(), secrets[0], path, from.stem, name.Text()}, secrets[0].Text(), false))
		}
	}
	if len(headers) > 0 {
		out.add("headers", headers)
	}
}
