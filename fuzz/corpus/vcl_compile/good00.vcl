vcl 4.0; backend b { .host = "127.0.0.1"; }
