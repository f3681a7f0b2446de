# The VCL behind every other: its subs follow those of the same names in a VCL that is loaded, so what that one does
# not decide is decided here.

vcl 4.0;

# ---- from the client ----

sub vcl_recv {
	call vcl_builtin_recv;
	return (hash);
}

sub vcl_builtin_recv {
	call vcl_req_host;
	call vcl_req_method;
	call vcl_req_authorization;
	call vcl_req_cookie;
}

# Names of hosts know no case, keys of the cache do.  HTTP/1.1 demands a Host.
sub vcl_req_host {
	if (req.http.host ~ "[[:upper:]]") {
		set req.http.host = req.http.host.lower();
	}
	if (!req.http.host && req.esi_level == 0 && req.proto == "HTTP/1.1") {
		return (synth(400));
	}
}

# Only what reads is looked up; what is no method that we know is for the backend to make sense of.
sub vcl_req_method {
	if (req.method == "PRI") {
		return (synth(405));
	}
	if (req.method != "GET" && req.method != "HEAD" && req.method != "PUT" && req.method != "POST" &&
	    req.method != "TRACE" && req.method != "OPTIONS" && req.method != "DELETE" && req.method != "PATCH") {
		return (pipe);
	}
	if (req.method != "GET" && req.method != "HEAD") {
		return (pass);
	}
}

# Answers to somebody in particular are nobody else's.  With http_rfc9111 it is for the answer to say so: what may not
# be shared is not stored.
sub vcl_req_authorization {
	if (req.http.Authorization && !req.is_rfc9111) {
		return (pass);
	}
}

sub vcl_req_cookie {
	if (req.http.Cookie && !req.is_rfc9111) {
		return (pass);
	}
}

sub vcl_pipe {
	call vcl_builtin_pipe;
	return (pipe);
}

sub vcl_builtin_pipe {
}

sub vcl_pass {
	call vcl_builtin_pass;
	return (fetch);
}

sub vcl_builtin_pass {
}

sub vcl_hash {
	call vcl_builtin_hash;
	return (lookup);
}

sub vcl_builtin_hash {
	hash_data(req.url);
	if (req.http.host) {
		hash_data(req.http.host);
	} else {
		hash_data(server.ip);
	}
}

sub vcl_purge {
	call vcl_builtin_purge;
	return (synth(200, "Purged"));
}

sub vcl_builtin_purge {
}

sub vcl_hit {
	call vcl_builtin_hit;
	return (deliver);
}

sub vcl_builtin_hit {
}

sub vcl_miss {
	call vcl_builtin_miss;
	return (fetch);
}

sub vcl_builtin_miss {
}

# ---- to the client ----

sub vcl_deliver {
	call vcl_builtin_deliver;
	return (deliver);
}

sub vcl_builtin_deliver {
}

sub vcl_synth {
	call vcl_builtin_synth;
	return (deliver);
}

sub vcl_builtin_synth {
	set resp.http.Content-Type = "text/html; charset=utf-8";
	set resp.http.Retry-After = "5";
	set resp.body = {"<!DOCTYPE html>
<html>
  <head>
    <title>"} + resp.status + " " + resp.reason + {"</title>
  </head>
  <body>
    <h1>Error "} + resp.status + " " + resp.reason + {"</h1>
    <p>"} + resp.reason + {"</p>
    <h3>Guru Meditation:</h3>
    <p>XID: "} + req.xid + {"</p>
    <hr>
    <p>objmapper cache server</p>
  </body>
</html>
"};
}

# ---- to and from the backend ----

sub vcl_backend_fetch {
	call vcl_builtin_backend_fetch;
	return (fetch);
}

sub vcl_builtin_backend_fetch {
	if (bereq.method == "GET") {
		unset bereq.body;
	}
}

sub vcl_backend_response {
	call vcl_builtin_backend_response;
	return (deliver);
}

sub vcl_builtin_backend_response {
	if (bereq.uncacheable) {
		return (deliver);
	}
	call vcl_beresp_stale;
	call vcl_beresp_cookie;
	call vcl_beresp_control;
	call vcl_beresp_vary;
}

# With http_rfc9111 these four are decided already: beresp.uncacheable is true where the RFC forbids storing.
sub vcl_beresp_stale {
	if (beresp.ttl <= 0s && !bereq.is_rfc9111) {
		call vcl_beresp_hitmiss;
	}
}

sub vcl_beresp_cookie {
	if (beresp.http.Set-Cookie && !bereq.is_rfc9111) {
		call vcl_beresp_hitmiss;
	}
}

# Surrogate-Control is for caches like this one, and goes before what is for all.
sub vcl_beresp_control {
	if (bereq.is_rfc9111) {
		return;
	}
	if (beresp.http.Surrogate-control ~ "(?i)no-store" ||
	    (!beresp.http.Surrogate-Control && beresp.http.Cache-Control ~ "(?i:no-cache|no-store|private)")) {
		call vcl_beresp_hitmiss;
	}
}

sub vcl_beresp_vary {
	if (beresp.http.Vary == "*" && !bereq.is_rfc9111) {
		call vcl_beresp_hitmiss;
	}
}

# For two minutes nobody waits for this object, in the hope that it could be shared.
sub vcl_beresp_hitmiss {
	set beresp.ttl = 120s;
	set beresp.uncacheable = true;
	return (deliver);
}

sub vcl_backend_error {
	call vcl_builtin_backend_error;
	return (deliver);
}

sub vcl_builtin_backend_error {
	set beresp.http.Content-Type = "text/html; charset=utf-8";
	set beresp.http.Retry-After = "5";
	set beresp.body = {"<!DOCTYPE html>
<html>
  <head>
    <title>"} + beresp.status + " " + beresp.reason + {"</title>
  </head>
  <body>
    <h1>Error "} + beresp.status + " " + beresp.reason + {"</h1>
    <p>"} + beresp.reason + {"</p>
    <h3>Guru Meditation:</h3>
    <p>XID: "} + bereq.xid + {"</p>
    <hr>
    <p>objmapper cache server</p>
  </body>
</html>
"};
}

# ---- when it is loaded and discarded ----

sub vcl_init {
	return (ok);
}

sub vcl_fini {
	return (ok);
}
