vcl 4.1; backend b { .host = "127.0.0.1"; }
sub vcl_backend_response { set beresp.ttl = 1h + 5m * 2; set beresp.grace *= 1.5; }