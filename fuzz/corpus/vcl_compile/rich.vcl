vcl 4.1; import std; import directors;
probe p { .url = "/"; .interval = 1s; .window = 8; .threshold = 3; }
backend b { .host = "127.0.0.1"; .port = "80"; .probe = p; .max_connections = 5; .connect_timeout = 1.5s; }
acl mine +log { "10.0.0.0"/8; ! "10.1.0.0"/16; "::1"; }
sub mine { if (req.url ~ "^/a" && !req.http.x) { return (pass); } elsif (client.ip ~ mine) { call other; } else { return; } }
sub other { set req.http.y = "n " + now + 5 + true + {"long "x"} + """y"""; unset req.http.z; }
sub vcl_init { new d = directors.round_robin(); d.add_backend(b); }
sub vcl_recv { call mine; set req.backend_hint = d.backend(); set req.http.a = regsuball(req.url, "a", "\0"); std.log("x" + std.tolower(req.url)); }
sub vcl_backend_response { set beresp.ttl = 1h + 5m * 2; set beresp.grace *= 1.5; set beresp.storage = storage.s0; if (beresp.status > 500) { return (pass(10s)); } }
sub vcl_synth { synthetic("x"); return (deliver); }
