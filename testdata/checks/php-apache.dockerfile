FROM php:8.2-apache
RUN docker-php-ext-install mysqli pdo pdo_mysql \
	&& a2enmod rewrite
COPY --chown=www-data:www-data . /var/www/html
VOLUME ["/var/www/html/uploads"]
